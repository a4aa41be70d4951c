"""What a report page shows of a run beside its tables of results: counts, stages, checks, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.config.flatten import flat_texts
from pipelines.results.report import RunReport, report
from schemas.problems import TRAIN

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader


@dataclass(frozen=True)
class RunOverview:
    """A run as its tables have it; every list of rows is in the order in which it is shown."""

    report: RunReport
    about: Row
    """The run's row in `runs`."""
    settings: Mapping[str, str]
    """Dotted name -> value as text."""
    policies: list[Row]
    evaluations: list[Row]
    verdicts: list[Row]
    """Numbers of samples by iteration, purpose, decoding and verdict."""
    reasons: list[Row]
    """Numbers of training samples by iteration and reason for which they were kept or not."""
    rates: list[Row]
    """Share of correct training samples by iteration, for problems of the same difficulty."""
    stages: list[Row]
    """The last attempt at each stage."""
    checks: list[Row]
    """Failed ones first."""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.report.name

    @property
    def histories(self) -> dict[int, list[dict[str, float]]]:
        """The M-step's epochs, by the iteration of the policy that they made."""
        read = {row["iteration"]: json.loads(row["history"]) for row in self.policies}
        return {iteration: epochs for iteration, epochs in read.items() if epochs}


def overview(reader: LakeReader, config: RunConfig, timed_stages: Sequence[str]) -> RunOverview:
    """Read a run's overview.

    Args:
        reader: the lake.
        config: the run.
        timed_stages: stages whose seconds are shown, in the loop's order.
    """
    run = config.name
    return RunOverview(
        report=report(reader, config, timed_stages),
        about=reader.rows("SELECT * FROM runs ORDER BY created_at DESC LIMIT 1", run)[0],
        settings=flat_texts(config.stored()),
        policies=reader.rows("SELECT * FROM policies ORDER BY iteration", run),
        evaluations=reader.rows("SELECT * FROM evaluations ORDER BY suite, metric, iteration", run),
        verdicts=reader.rows(
            "SELECT iteration, purpose, decoding, coalesce(verdict, 'not scored') AS verdict, "
            "count(*) AS samples FROM sample_verdicts GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 1, 5 DESC",
            run,
        ),
        reasons=reader.rows(
            "SELECT iteration, reason, count(*) AS samples FROM selections "
            "GROUP BY 1, 2 ORDER BY 1, 3 DESC",
            run,
        ),
        rates=reader.rows(_RATES, run),
        stages=sealed_stages(reader, run),
        checks=reader.rows(
            "SELECT * FROM checks ORDER BY passed, severity, iteration, table_name, rule", run
        ),
    )


def sealed_stages(reader: LakeReader, run: str) -> list[Row]:
    """The last attempt at each stage of the loop, in the order in which they were sealed."""
    return reader.rows(
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY iteration, stage "
        "ORDER BY attempt DESC) AS nth FROM stages) WHERE nth = 1 "
        "ORDER BY committed_at, iteration",
        run,
    )


_RATES = f"""
SELECT r.iteration, b.difficulty, sum(r.num_correct) * 1.0 / sum(r.num_samples) AS share,
       count(*) AS problems
FROM problem_rates r JOIN (
    SELECT problem_id, CASE WHEN success_rate = 0 THEN 'never solved by the base model'
        WHEN success_rate <= 0.25 THEN 'solved by the base model in up to 25 %'
        WHEN success_rate <= 0.75 THEN 'in up to 75 %' ELSE 'in more than 75 %' END AS difficulty
    FROM problem_rates WHERE iteration = 0 AND purpose = '{TRAIN}'
) b ON b.problem_id = r.problem_id
WHERE r.purpose = '{TRAIN}' GROUP BY 1, 2
ORDER BY CASE b.difficulty WHEN 'never solved by the base model' THEN 0
    WHEN 'solved by the base model in up to 25 %' THEN 1 WHEN 'in up to 75 %' THEN 2 ELSE 3 END, 1
"""
