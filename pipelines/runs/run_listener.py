"""Follows a run: prints one line per stage, and logs each stage's figures to the tracker."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.lake.reader import LakeReader
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_list
from pipelines.runs.artifacts import checks_file, sample_table
from pipelines.runs.tracking import Ending, SourceTable, Tracker
from pipelines.runtime.progress import Progress
from schemas import EVALUATIONS, POLICIES, SELECTIONS
from schemas.selections import NOT_ACCEPTED


class RunListener:
    """The lake's listener.

    A stage that was sealed before this start is logged again: a kill between the seal and the log
    would otherwise leave a hole, and a metric that is logged twice at one step is one point.
    """

    def __init__(self, config: RunConfig, tracker: Tracker, progress: Progress) -> None:
        self._config = config
        self._tracker = tracker
        self._progress = progress

        self._run_id: str | None = None
        self._has_started = False

    def warm_up(self) -> None:
        """Import the tracker's library, which takes seconds."""
        self._tracker.warm_up()

    def finish(self, reader: LakeReader, report: Path, description: str) -> None:
        """Log the run's samples to browse, its plots, checks and report; close its run.

        Args:
            reader: the lake.
            report: folder of the report's pages.
            description: the results, Markdown.
        """
        self._tracker.log_table("samples", sample_table(reader, self._config))
        plots = sorted(self._config.folder.glob("*.png"))
        artifacts = [*plots, checks_file(reader, self._config), report]
        self._tracker.finish(artifacts, description)

    def stop(self, ending: Ending, reason: str) -> None:
        """Close the run in the tracker, if this start has opened it, before it is complete."""
        if self._has_started:
            self._tracker.stop(ending, reason)

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        """See pipelines.lake.lake.Listener."""
        if not self._has_started:
            self._run_id = self._tracker.start()
            self._has_started = True
        return self._run_id if iteration is None else self._tracker.start_iteration(iteration)

    def stage_sealed(self, seal: Seal, snapshot: TableSnapshot, *, repeated: bool) -> None:
        """See pipelines.lake.lake.Listener."""
        self.mlflow_run_id()
        if not repeated:
            self._progress.say(
                f"iteration {seal.iteration}  {seal.stage:<12} {seal.rows:>8,} rows  "
                f"{seal.seconds:>6.1f} s"
            )
        metrics = {f"seconds/{seal.stage}": seal.seconds}
        metrics |= {f"{seal.stage}/{name}": float(value) for name, value in seal.measures.items()}
        metrics |= _figures(snapshot)
        path = snapshot.location.table(snapshot.table.name)
        source = SourceTable(snapshot.table.name, path, snapshot.version, seal.stage)
        self._tracker.log_iteration(seal.iteration, metrics, [source], _history(snapshot))


def _figures(snapshot: TableSnapshot) -> dict[str, float]:
    """A table's rows in a few numbers."""
    if snapshot.table == EVALUATIONS:
        rows = snapshot.arrow(["suite", "metric", "value"]).to_pylist()
        return {f"{row['suite']}/{row['metric']}": row["value"] for row in rows}
    if snapshot.table == SELECTIONS:
        total, kept = snapshot.count(), snapshot.count("kept")
        accepted = snapshot.count(f"reason NOT IN {sql_list(NOT_ACCEPTED)}")
        return {
            "training_set/rows": float(kept),
            "training_set/accepted_share": accepted / max(total, 1),
        }
    if snapshot.table == POLICIES:
        # The M-step's own figure; its curve by epoch is in the iteration's run.
        (row,) = snapshot.arrow(["validation_reward"]).to_pylist()
        reward = row["validation_reward"]
        return {} if reward is None else {"policy/validation_reward": reward}
    return {}


def _history(snapshot: TableSnapshot) -> list[dict[str, object]]:
    """The epochs of the M-step that made a policy; empty for the base model and other tables."""
    if snapshot.table != POLICIES:
        return []
    history: list[dict[str, object]] = json.loads(snapshot.arrow(["history"])["history"][0].as_py())
    return history
