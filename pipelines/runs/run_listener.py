"""Follows a run: tells people what each stage did, and the tracker what to keep of it."""

from __future__ import annotations

import json
from typing import Any

from pipelines.config import RunConfig
from pipelines.lake.snapshot import TableSnapshot
from pipelines.results.report import Reader
from pipelines.runs.artifacts import checks_file, sample_table
from pipelines.runs.tracking import Tracker
from pipelines.runtime.progress import Progress

_MEASURES_KEPT = ("generate", "score", "improve")
"""Stages whose measures go to the tracker as `<stage>/<measure>`."""


class Follower:
    """The lake's listener.

    A stage that was sealed before this start is told again to the tracker: a kill between the seal
    and the tracker would otherwise leave a hole, and a metric logged twice at one step is one point.
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

    def finish(self, reader: Reader) -> None:
        """Keep the run's samples to browse, its picture and its checks; close its run."""
        self._tracker.log_table("samples", sample_table(reader, self._config))
        pictures = sorted(self._config.folder.glob("*.png"))
        self._tracker.finish([*pictures, checks_file(reader, self._config)])

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        """See pipelines.lake.lake.Listener."""
        if not self._has_started:
            self._run_id = self._tracker.start(self._config)
            self._has_started = True
        return self._run_id if iteration is None else self._tracker.start_iteration(iteration)

    def stage_started(self, iteration: int, stage: str) -> None:
        """See pipelines.lake.lake.Listener."""

    def stage_sealed(
        self, seal: dict[str, Any], snapshot: TableSnapshot, *, repeated: bool
    ) -> None:
        """See pipelines.lake.lake.Listener."""
        iteration, stage = seal["iteration"], seal["stage"]
        self.mlflow_run_id()
        if not repeated:
            self._progress.say(
                f"iteration {iteration}  {stage:<12} {seal['rows']:>8,} rows  "
                f"{seal['seconds']:>6.1f} s"
            )
        metrics = {f"seconds/{stage}": float(seal["seconds"])}
        if stage in _MEASURES_KEPT:
            measures = json.loads(seal["measures"])
            metrics |= {f"{stage}/{name}": float(value) for name, value in measures.items()}
        metrics |= _figures(stage, snapshot)
        source = (
            snapshot.table.name,
            snapshot.location.table(snapshot.table.name),
            snapshot.version,
            stage,
        )
        self._tracker.log_iteration(iteration, metrics, [source], _history(stage, snapshot))


def _figures(stage: str, snapshot: TableSnapshot) -> dict[str, float]:
    """What a stage's rows say in a few numbers."""
    if stage == "evaluate":
        rows = snapshot.arrow(["suite", "metric", "value"]).to_pylist()
        return {f"{row['suite']}/{row['metric']}": row["value"] for row in rows}
    if stage == "select":
        rows, kept = snapshot.count(), snapshot.count("kept")
        accepted = rows - snapshot.count("reason = 'reward_not_above_threshold'")
        return {
            "training_set/rows": float(kept),
            "training_set/accepted_share": accepted / max(rows, 1),
        }
    return {}


def _history(stage: str, snapshot: TableSnapshot) -> list[dict[str, Any]]:
    if stage != "improve":
        return []
    history: list[dict[str, Any]] = json.loads(
        snapshot.arrow(["history"]).to_pylist()[0]["history"]
    )
    return history
