"""The tracking server: the one door to MLflow.

A run of restem is a run there, with one nested run an iteration. The parent gets every metric with
step = iteration, so that runs compare as curves; a child holds its iteration's values, what they
were computed from (Delta tables at their versions), and the M-step's training curve.

A server that is not there when the run starts stops it, before anything is written. One that goes
away later costs a warning: what it missed is in the lake, and is told again at the next start.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.config import RunConfig
from pipelines.config.flatten import flattened, without_secrets
from pipelines.errors import MachineError
from pipelines.lake.location import Location

if TYPE_CHECKING:
    from mlflow import MlflowClient

Source = tuple[str, str, int, str]
"""A table that an iteration read or made: its name, path, Delta version, and the stage."""
Metrics = Mapping[str, float]
Rows = Sequence[Mapping[str, Any]]

RUN_TAG = "restem.run"
HASH_TAG = "restem.config_hash"
LAKE_TAG = "restem.lake"
ITERATION_TAG = "restem.iteration"
_PARENT_TAG = "mlflow.parentRunId"
_MAX_PARAM_CHARS = 6000

_log = logging.getLogger(__name__)


class Tracker(Protocol):
    """What a run tells of itself while it goes on. Telling a thing twice tells it once."""

    def warm_up(self) -> None:
        """Import what takes seconds, for a thread beside other starts; nothing is written."""

    def start(self, config: RunConfig) -> str | None:
        """Open the run, or find it again; its id.

        Raises:
            MachineError: the server cannot be reached or used.
        """

    def start_iteration(self, iteration: int) -> str | None:
        """Open the iteration's nested run, or find it again; its id."""

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[Source], history: Rows
    ) -> None:
        """Keep an iteration's figures.

        Args:
            iteration: whose they are.
            metrics: name -> value, such as `test/greedy_accuracy` or `seconds/generate`.
            inputs: the tables they come from.
            history: the M-step's epochs; every number but `epoch` becomes `improve/<name>`.
        """

    def log_table(self, name: str, rows: Rows) -> None:
        """Keep rows as a table to browse (an artifact `<name>.json`)."""

    def finish(self, artifacts: Sequence[Path] = ()) -> None:
        """Keep files, and close the run."""


class SilentTracker:
    """Keeps nothing: `mlflow.enabled` is false."""

    def warm_up(self) -> None: ...

    def start(self, config: RunConfig) -> None:
        """See Tracker, as below."""

    def start_iteration(self, iteration: int) -> None: ...

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[Source], history: Rows
    ) -> None: ...

    def log_table(self, name: str, rows: Rows) -> None: ...

    def finish(self, artifacts: Sequence[Path] = ()) -> None: ...


def tracker_of(config: RunConfig, warn: Callable[[str], None] = _log.warning) -> Tracker:
    """The tracker that the configuration asks for.

    Args:
        config: the run.
        warn: told one line when the server fails after the start.
    """
    return MLflowTracker(config, warn) if config.mlflow.enabled else SilentTracker()


class MLflowTracker:
    """See Tracker.

    Args:
        config: the run.
        warn: told one line when the server fails after the start.
    """

    def __init__(self, config: RunConfig, warn: Callable[[str], None] = _log.warning) -> None:
        self._config = config
        self._warn = warn
        self._experiment = self._parent = ""
        self._children: dict[int, str] = {}
        self._opened: MlflowClient | None = None

    def warm_up(self) -> None:
        """See Tracker."""
        _failures()

    def start(self, config: RunConfig) -> str:
        """See Tracker."""
        self._config = config
        try:
            self._experiment = self._find_experiment()
            self._parent = self._find_parent() or self._create_parent()
            self._client.update_run(self._parent, status="RUNNING")
        except _failures() as error:
            uri = config.mlflow.tracking_uri
            raise MachineError(
                f"mlflow.tracking_uri: cannot use {uri}: {_one_line(error)}; start the server or "
                "correct the address, or go without it: --set mlflow.enabled=false"
            ) from None
        return self._parent

    def start_iteration(self, iteration: int) -> str | None:
        """See Tracker; None if the server failed."""
        if iteration not in self._children:
            with self._warning(f"iteration {iteration} has no run there"):
                self._children[iteration] = self._find_child(iteration)
        return self._children.get(iteration)

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[Source], history: Rows
    ) -> None:
        """See Tracker."""
        child = self.start_iteration(iteration)
        if child is None:
            return
        with self._warning(f"iteration {iteration} is incomplete there"):
            known = self._client.get_run(child).data.metrics
            new = {name: value for name, value in metrics.items() if known.get(name) != value}
            self._log_metrics(self._parent, new, step=iteration)
            for epoch in [] if "improve/loss" in known else history:
                self._log_metrics(child, _curve(epoch), step=int(epoch["epoch"]))
            self._log_inputs(child, inputs)
            # Last, because what the child has counts as told.
            self._log_metrics(child, new, step=iteration)

    def log_table(self, name: str, rows: Rows) -> None:
        """See Tracker."""
        import pandas as pd

        if not rows:
            return
        table = pd.DataFrame(list(rows))
        with self._warning(f"table {name} is missing there"):
            # Not log_table: it appends to the artifact of an earlier start.
            text = json.dumps(table.to_dict(orient="split", index=False), default=str)
            self._client.log_text(self._parent, text, f"{name}.json")
            tables = json.dumps([{"path": f"{name}.json", "type": "table"}])
            self._client.set_tag(self._parent, "mlflow.loggedArtifacts", tables)

    def finish(self, artifacts: Sequence[Path] = ()) -> None:
        """See Tracker."""
        for path in artifacts:
            with self._warning(f"{path.name} is missing there"):
                self._client.log_artifact(self._parent, str(path))
        with self._warning("the run stays open there"):
            for run in (*self._children.values(), self._parent):
                self._client.set_terminated(run)

    @property
    def _client(self) -> MlflowClient:
        # Importing MLflow takes seconds, and the first use of a fresh store builds its schema.
        if self._opened is None:
            self._opened = _open(self._config.mlflow.tracking_uri)
        return self._opened

    def _find_experiment(self) -> str:
        name = self._config.mlflow.experiment
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        folder = _sqlite_folder(self._config.mlflow.tracking_uri)
        # Without this MLflow would put artifacts in ./mlruns of whoever made the experiment.
        where = None if folder is None else (folder / "mlflow-artifacts").as_uri()
        # MLflow's pages otherwise take an experiment for one about prompts and traces.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(name, artifact_location=where, tags=tags))

    def _find_parent(self) -> str | None:
        return self._find(self._tags())

    def _tags(self) -> dict[str, str]:
        # A name in another lake, or of a run that was deleted and configured anew, is another run.
        return {
            RUN_TAG: self._config.name,
            HASH_TAG: self._config.config_hash(),
            LAKE_TAG: Location.of(self._config.lake).uri,
            "mlflow.source.name": "restem",
        }

    def _find(self, tags: Mapping[str, str]) -> str | None:
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self._client.search_runs([self._experiment], query, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _create_parent(self) -> str:
        run = self._client.create_run(
            self._experiment, tags=self._tags(), run_name=self._config.name
        )
        self._log_params(run.info.run_id)
        self._client.log_dict(run.info.run_id, without_secrets(self._config), "config.json")
        return str(run.info.run_id)

    def _find_child(self, iteration: int) -> str:
        tags = {_PARENT_TAG: self._parent, ITERATION_TAG: str(iteration)}
        found = self._find(tags)
        if found is not None:
            return found
        name = f"{self._config.name} iteration {iteration}"
        run = self._client.create_run(self._experiment, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _log_params(self, run: str) -> None:
        from mlflow.entities import Param

        settings = flattened(without_secrets(self._config))
        params = [Param(name, text[:_MAX_PARAM_CHARS]) for name, text in settings.items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(run, params=params[start : start + 100])

    def _log_metrics(self, run: str, metrics: Metrics, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(name, float(value), now, step) for name, value in metrics.items()]
        self._client.log_batch(run, metrics=rows)

    def _log_inputs(self, run: str, inputs: Sequence[Source]) -> None:
        from mlflow.data.delta_dataset_source import DeltaDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag, RunTag

        rows, tags = [], []
        for name, path, version, stage in inputs:
            source = DeltaDatasetSource(path=path, delta_table_version=version)
            table = MetaDataset(source, name=name, digest=f"v{version}")
            context = InputTag("mlflow.data.context", stage)
            rows.append(DatasetInput(table._to_mlflow_entity(), [context]))
            tags.append(RunTag(f"version/{name}", str(version)))
        if rows:
            self._client.log_inputs(run, rows)
            self._client.log_batch(run, tags=tags)

    @contextmanager
    def _warning(self, loss: str) -> Iterator[None]:
        try:
            yield
        except _failures() as error:
            self._warn(
                f"mlflow: {loss} ({self._config.mlflow.tracking_uri}: {_one_line(error)}); "
                "the run goes on, its tables are in the lake"
            )


def _curve(epoch: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"improve/{name}": float(value)
        for name, value in epoch.items()
        if name != "epoch" and isinstance(value, int | float)
    }


def _open(uri: str) -> MlflowClient:
    # MLflow talks of its schema, its links and its news on the screen, and waits minutes for a
    # server that is not there; what the user set in the environment still wins.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    folder = _sqlite_folder(uri)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return MlflowClient(uri)


def _sqlite_folder(uri: str) -> Path | None:
    path = uri.removeprefix("sqlite:///")
    return Path(path).resolve().parent if path != uri else None


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # A server's HTTP errors are OSErrors (requests).
    return (MlflowException, SQLAlchemyError, OSError)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "no server answers there" if "Max retries exceeded" in text else text[:200]
