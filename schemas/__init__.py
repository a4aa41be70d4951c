r"""What a row is: every table of the lake, declared once.

runs -> problems -> prompts -> samples -> rewards -> selections -> training_set -> policies
                                   \__________/
                                   evaluations            (stages, checks: the lake's books)
                      samples -> grades -> evaluations    (marks that people give by hand)
"""

from schemas.checks import CHECKS
from schemas.evaluations import EVALUATIONS
from schemas.grades import GRADES
from schemas.policies import POLICIES
from schemas.problems import PROBLEMS
from schemas.prompts import PROMPTS
from schemas.rewards import REWARDS
from schemas.runs import RUNS
from schemas.samples import SAMPLES
from schemas.selections import SELECTIONS
from schemas.stages import STAGES
from schemas.table import Column, ColumnType, Table
from schemas.training_set import TRAINING_SET

TABLES: tuple[Table, ...] = (
    RUNS,
    PROBLEMS,
    PROMPTS,
    SAMPLES,
    REWARDS,
    SELECTIONS,
    TRAINING_SET,
    POLICIES,
    EVALUATIONS,
    GRADES,
    STAGES,
    CHECKS,
)

__all__ = [
    "CHECKS",
    "EVALUATIONS",
    "GRADES",
    "POLICIES",
    "PROBLEMS",
    "PROMPTS",
    "REWARDS",
    "RUNS",
    "SAMPLES",
    "SELECTIONS",
    "STAGES",
    "TABLES",
    "TRAINING_SET",
    "Column",
    "ColumnType",
    "Table",
]
