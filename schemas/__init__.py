r"""Every table of the lake, declared once: what a row is, its key and its columns.

runs -> problems -> prompts -> samples -> rewards -> selections -> training_set -> policies
                                   \__________/
                                   evaluations            (stages, checks, leases: records of the lake itself)
                      samples -> grades -> evaluations    (marks that people give)
                     problems -> contamination            (text shared with training problems)
"""

from schemas.checks import CHECKS
from schemas.contamination import CONTAMINATION
from schemas.evaluations import EVALUATIONS
from schemas.grades import GRADES
from schemas.leases import LEASES
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
    LEASES,
)

__all__ = [
    "CHECKS",
    "CONTAMINATION",
    "EVALUATIONS",
    "GRADES",
    "LEASES",
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
