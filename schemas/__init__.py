r"""What a row is: every table of the lake, declared once.

runs -> problems -> prompts -> samples -> rewards -> selections -> training_set -> policies
                                   \__________/
                                   evaluations            (stages, checks: the lake's books)
                      samples -> grades -> evaluations    (marks that people give by hand)
                     problems -> contamination        (what is tested on and was trained on)
"""

from schemas.checks import CHECKS
from schemas.contamination import CONTAMINATION
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
    CONTAMINATION,
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
    "CONTAMINATION",
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
