"""Logging to MLflow, which no other module imports.

A run of restem is a run there, with one nested run per iteration. The parent gets every metric with
step = iteration, so that runs compare as curves, its problems and training sets, and in the end its
results as description and report; a child holds its iteration's values, the tables that they were
computed from at their Delta versions, and the M-step's training curve. A metric has the same name in
all runs and iterations.

A server that cannot be reached at the start stops the run before anything is written. One that
fails later costs a warning: what it missed is in the lake, and is logged at the next start.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipelines.config import RunConfig
from pipelines.config.flatten import flat_texts
from pipelines.config.secret import hide, without_credentials
from pipelines.errors import MachineError
from pipelines.lake.location import Location
from schemas import PROBLEMS, TRAINING_SET

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Metrics = Mapping[str, float]
"""Name, such as `test/greedy_accuracy` or `seconds/generate` -> value."""
Rows = Sequence[Mapping[str, object]]

_RUN_TAG = "restem.run"
_HASH_TAG = "restem.config_hash"
_LAKE_TAG = "restem.lake"
_ITERATION_TAG = "restem.iteration"
_ENDED_TAG = "restem.ended"
"""Why the last start did not complete the run."""
_MAX_TAG_CHARS = 500
_SQLITE = "sqlite:///"
_PARENT_TAG = "mlflow.parentRunId"
_NOTE_TAG = "mlflow.note.content"
"""A run's description, Markdown."""
_KIND_TAG = "mlflow.experimentKind"
_MODEL_TRAINING = "custom_model_development"
"""Without this kind MLflow's pages take an experiment for one about prompts and traces.

Those of 3.17 go by `workflowType` in the address, or what the browser remembers of it (docs/report.md).
"""
_INFERRED = "_inferred"
"""End of a kind that MLflow's pages have guessed."""
_DATA_SETS = (PROBLEMS.name, TRAINING_SET.name)
"""Tables that are shown as the parent run's data sets."""
_MAX_NOTE_CHARS = 5000
"""A tag holds this much in any store."""
_MAX_PARAM_CHARS = 6000
_MAX_PARAMS_PER_CALL = 100

_log = logging.getLogger(__name__)


class SourceTable(NamedTuple):
    """A table that an iteration's figures come from."""

    name: str
    path: str
    version: int
    """Its Delta version."""
    stage: str


class Ending(StrEnum):
    """How a start of a run ended that wrote no report, in MLflow's words."""

    COMPLETE = "FINISHED"
    FAILED = "FAILED"
    INTERRUPTED = "KILLED"
    HAS_MORE_STAGES = "SCHEDULED"
    """The stages that it was asked for are done; others are to come."""


class Tracker(Protocol):
    """Logs a run while it goes on. All methods are idempotent."""

    def warm_up(self) -> None:
        """Import what takes seconds, for a thread beside other starts; nothing is written."""

    def start(self) -> str | None:
        """Open the run, or find it again; its id.

        Raises:
            MachineError: the server cannot be reached or used.
        """

    def start_iteration(self, iteration: int) -> str | None:
        """Open the iteration's nested run, or find it again; its id."""

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[SourceTable], history: Rows
    ) -> None:
        """Log an iteration's figures.

        Args:
            iteration: whose they are.
            metrics: the figures.
            inputs: the tables they come from.
            history: the M-step's epochs; every number but `epoch` becomes `improve/<name>`.
        """

    def log_table(self, name: str, rows: Rows) -> None:
        """Log rows as a table to browse (an artifact `<name>.json`)."""

    def finish(self, artifacts: Sequence[Path] = (), description: str = "") -> None:
        """Log files and folders, and close the run.

        Args:
            artifacts: files, and folders with files.
            description: what the run is shown with, Markdown; empty: none.
        """

    def stop(self, ending: Ending, reason: str) -> None:
        """Close the run, if it was opened, before it is complete; the next start opens it again."""


class SilentTracker:
    """Logs nothing: `mlflow.enabled` is false."""

    def warm_up(self) -> None: ...

    def start(self) -> None: ...

    def start_iteration(self, iteration: int) -> None: ...

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[SourceTable], history: Rows
    ) -> None: ...

    def log_table(self, name: str, rows: Rows) -> None: ...

    def finish(self, artifacts: Sequence[Path] = (), description: str = "") -> None: ...

    def stop(self, ending: Ending, reason: str) -> None: ...


def tracker_of(config: RunConfig, warn: Callable[[str], None] = _log.warning) -> Tracker:
    """The tracker that the configuration asks for.

    Args:
        config: the run.
        warn: called with one line if the server fails after the start.
    """
    return MLflowTracker(config, warn) if config.mlflow.enabled else SilentTracker()


def stored_tracker(config: RunConfig, warn: Callable[[str], None]) -> MLflowTracker | None:
    """The tracker of a run that is stored, to change what it has of it; None if it is not there.

    Args:
        config: the run's.
        warn: called with one line if the run's store cannot be reached.
    """
    if not config.mlflow.enabled:
        return None
    uri = config.mlflow.tracking_uri
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists():
        warn(f"mlflow: there is no {uri} here (a path starts in the folder of the run's command)")
        return None
    return MLflowTracker(config, warn)


class MLflowTracker:
    """Logs to the server of `mlflow.tracking_uri`.

    Args:
        config: the run.
        warn: called with one line if the server fails after the start.
    """

    def __init__(self, config: RunConfig, warn: Callable[[str], None] = _log.warning) -> None:
        self._config = config
        self._warn = warn
        self._experiment = self._parent = ""
        self._children: dict[int, str] = {}
        self._opened: MlflowClient | None = None

    def warm_up(self) -> None:
        """See Tracker."""
        _server_errors()

    def start(self) -> str:
        """See Tracker."""
        try:
            with _store_lock(self._config.mlflow.tracking_uri):
                self._experiment = self._find_or_create_experiment()
            found = self._find_run(self._tags())
            if found is not None:
                self._close_if_left_open(found)
            self._parent = found or self._create_parent()
            self._client.update_run(self._parent, status="RUNNING")
        except _server_errors() as error:
            raise MachineError(
                f"mlflow.tracking_uri: cannot use {self._described(error)}; start the server or "
                "correct the address, or go without it: --set mlflow.enabled=false"
            ) from None
        return self._parent

    def start_iteration(self, iteration: int) -> str | None:
        """See Tracker; None if the server failed."""
        if iteration not in self._children:
            tags = {_PARENT_TAG: self._parent, _ITERATION_TAG: str(iteration)}
            with self._warning(f"iteration {iteration} has no run there"):
                found = self._find_run(tags)
                if found is None:
                    found = self._create_run(f"{self._config.name} iteration {iteration}", tags)
                else:
                    self._client.update_run(found, status="RUNNING")
                self._children[iteration] = found
        return self._children.get(iteration)

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[SourceTable], history: Rows
    ) -> None:
        """See Tracker."""
        child = self.start_iteration(iteration)
        if child is None:
            return
        with self._warning(f"iteration {iteration} is incomplete there"):
            logged = self._client.get_run(child).data.metrics
            new = {name: value for name, value in metrics.items() if logged.get(name) != value}
            self._log_metrics(self._parent, new, step=iteration)
            if "improve/loss" not in logged:
                for step, curves in map(_curve_point, history):
                    self._log_metrics(child, curves, step)
            self._log_inputs(child, inputs)
            self._log_versions(child, inputs)
            self._log_inputs(self._parent, [item for item in inputs if item.name in _DATA_SETS])
            # Last, because metrics that the child has are not logged again.
            self._log_metrics(child, new, step=iteration)

    def log_table(self, name: str, rows: Rows) -> None:
        """See Tracker."""
        if not rows:
            return
        columns = list(rows[0])
        data = [[row[column] for column in columns] for row in rows]
        with self._warning(f"table {name} is missing there"):
            # Not MLflow's log_table: it appends to the artifact of an earlier start.
            text = json.dumps({"columns": columns, "data": data}, default=str)
            self._client.log_text(self._parent, text, f"{name}.json")
            tables = json.dumps([{"path": f"{name}.json", "type": "table"}])
            self._client.set_tag(self._parent, "mlflow.loggedArtifacts", tables)

    def finish(self, artifacts: Sequence[Path] = (), description: str = "") -> None:
        """See Tracker."""
        for path in artifacts:
            with self._warning(f"{path.name} is missing there"):
                self._client.log_artifact(self._parent, str(path))
        with self._warning("the run stays open there"):
            if description:
                self._client.set_tag(self._parent, _NOTE_TAG, _cut_lines(description))
            self._client.set_tag(self._parent, _ENDED_TAG, "complete")
            for run in (*self._children.values(), self._parent):
                self._client.set_terminated(run)

    def stop(self, ending: Ending, reason: str) -> None:
        """See Tracker."""
        if not self._parent:
            return
        with self._warning("the run stays open there"):
            self._client.set_tag(self._parent, _ENDED_TAG, reason[:_MAX_TAG_CHARS])
            for run in (*self._children.values(), self._parent):
                self._client.set_terminated(run, status=ending.value)

    def rename(self, run: str, name: str) -> None:
        """Give a run and its iterations another run's name; they keep their ids.

        Args:
            run: its id.
            name: the other name.
        """
        with self._warning("its run keeps the old name there"):
            for child in self._children_of(run):
                iteration = child.data.tags.get(_ITERATION_TAG)
                self._client.update_run(child.info.run_id, name=f"{name} iteration {iteration}")
            self._client.update_run(run, name=name)
            self._client.set_tag(run, _RUN_TAG, name)

    def delete(self, run: str) -> None:
        """Mark a run and its iterations as deleted; `mlflow gc` removes them for good.

        Args:
            run: its id.
        """
        with self._warning("its run stays there"):
            for child in self._children_of(run):
                self._client.delete_run(child.info.run_id)
            if self._client.get_run(run).info.lifecycle_stage == "active":
                self._client.delete_run(run)

    def _children_of(self, parent: str) -> list[Run]:
        experiment = self._client.get_run(parent).info.experiment_id
        query = f"tags.`{_PARENT_TAG}` = '{parent}'"
        return list(self._client.search_runs([experiment], query))

    def _close_if_left_open(self, parent: str) -> None:
        """Close what an earlier start left open when it died: no start has the run but this one."""
        query = f"tags.`{_PARENT_TAG}` = '{parent}' and attributes.status = 'RUNNING'"
        left = [run.info.run_id for run in self._client.search_runs([self._experiment], query)]
        if self._client.get_run(parent).info.status == "RUNNING":
            left.append(parent)
            self._client.set_tag(parent, _ENDED_TAG, "an earlier start ended without a word")
        for run in left:
            self._client.set_terminated(run, status=Ending.INTERRUPTED.value)

    @property
    def _client(self) -> MlflowClient:
        # Importing MLflow takes seconds, and the first use of a fresh store builds its schema.
        if self._opened is None:
            self._opened = _open_client(self._config.mlflow.tracking_uri)
        return self._opened

    def _find_or_create_experiment(self) -> str:
        name = self._config.mlflow.experiment
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.tags.get(_KIND_TAG, _INFERRED).endswith(_INFERRED):
                self._client.set_experiment_tag(found.experiment_id, _KIND_TAG, _MODEL_TRAINING)
            return str(found.experiment_id)
        folder = _sqlite_folder(self._config.mlflow.tracking_uri)
        # Without this MLflow would put artifacts into ./mlruns of the current folder.
        where = None if folder is None else (folder / "mlflow-artifacts").as_uri()
        tags = {_KIND_TAG: _MODEL_TRAINING}
        return str(self._client.create_experiment(name, artifact_location=where, tags=tags))

    def _tags(self) -> dict[str, str]:
        """Tags by which the run is found again.

        The same name in another lake, or deleted and configured anew, is another run.
        """
        return {
            _RUN_TAG: self._config.name,
            _HASH_TAG: self._config.config_hash(),
            _LAKE_TAG: Location.of(self._config.lake).uri,
            "mlflow.source.name": "restem",
        }

    def _find_run(self, tags: Mapping[str, str]) -> str | None:
        # MLflow's queries know no text with both quotes; what has one is compared here.
        plain = {name: value for name, value in tags.items() if "'" not in value}
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in plain.items())
        page: str | None = None
        while True:
            runs = self._client.search_runs([self._experiment], query, page_token=page)
            for run in runs:
                if tags.items() <= run.data.tags.items():
                    return str(run.info.run_id)
            page = runs.token
            if not page:
                return None

    def _create_run(self, name: str, tags: dict[str, str]) -> str:
        run = self._client.create_run(self._experiment, tags=tags, run_name=name)
        return str(run.info.run_id)

    def _create_parent(self) -> str:
        from mlflow.entities import Param

        run = self._create_run(self._config.name, self._tags())
        settings = self._config.stored()
        params = [Param(key, text[:_MAX_PARAM_CHARS]) for key, text in flat_texts(settings).items()]
        for start in range(0, len(params), _MAX_PARAMS_PER_CALL):
            self._client.log_batch(run, params=params[start : start + _MAX_PARAMS_PER_CALL])
        self._client.log_dict(run, settings, "config.json")
        return run

    def _log_metrics(self, run: str, metrics: Metrics, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(name, float(value), now, step) for name, value in metrics.items()]
        self._client.log_batch(run, metrics=rows)

    def _log_inputs(self, run: str, inputs: Sequence[SourceTable]) -> None:
        from mlflow.data.delta_dataset_source import DeltaDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        rows = []
        for item in inputs:
            source = DeltaDatasetSource(path=item.path, delta_table_version=item.version)
            table = MetaDataset(source, name=item.name, digest=f"v{item.version}")
            context = InputTag("mlflow.data.context", item.stage)
            rows.append(DatasetInput(table._to_mlflow_entity(), [context]))
        if rows:
            self._client.log_inputs(run, rows)

    def _log_versions(self, run: str, inputs: Sequence[SourceTable]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(f"version/{item.name}", str(item.version)) for item in inputs]
        if tags:
            self._client.log_batch(run, tags=tags)

    def _described(self, error: Exception) -> str:
        """The server and its error; MLflow's messages have the address as it was given."""
        uri = self._config.mlflow.tracking_uri.rstrip("/")
        shown = without_credentials(uri)
        return f"{shown}: {hide(_one_line(error), uri, shown)}"

    @contextmanager
    def _warning(self, loss: str) -> Iterator[None]:
        """Turn an error of the server into a warning that names what is missing there."""
        try:
            yield
        except _server_errors() as error:
            self._warn(f"mlflow: {loss} ({self._described(error)}); the work in the lake goes on")


def register_policy(
    config: RunConfig, run_id: str, folder: Path, name: str, tags: Mapping[str, str]
) -> str:
    """Add a policy to the tracker's model registry; its version there.

    Its files become an artifact of the run, which the version is linked to. Loaded with
    `mlflow.artifacts.download_artifacts("models:/NAME/VERSION")`, as a folder of Hugging Face's.

    Args:
        config: the run.
        run_id: its id in the tracker.
        folder: the policy's folder; its README.md becomes the version's description.
        name: name of the registered model, made if it is not there.
        tags: of the version, such as the policy's id.

    Raises:
        MachineError: the tracker cannot be used, or does not have the run.
    """
    uri = config.mlflow.tracking_uri
    shown = without_credentials(uri.rstrip("/"))
    try:
        client = _open_client(uri)
        run = client.get_run(run_id)
        place = f"policy/{tags['policy_id']}"
        client.log_artifacts(run_id, str(folder), place)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        made = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{place}",
            run_id=run_id,
            tags={f"restem.{key}": value for key, value in tags.items()},
            description=_cut_lines((folder / "README.md").read_text(encoding="utf-8")),
        )
    except _server_errors() as error:
        raise MachineError(
            f"--register: cannot use {shown}: {hide(_one_line(error), uri, shown)}; the folder is "
            "written, so export again elsewhere, or without --register"
        ) from None
    return str(made.version)


def _curve_point(epoch: Mapping[str, object]) -> tuple[int, Metrics]:
    """An epoch's number, and its other numbers by `improve/<name>`."""
    numbers = {name: value for name, value in epoch.items() if isinstance(value, int | float)}
    step = int(numbers.pop("epoch"))
    return step, {f"improve/{name}": float(value) for name, value in numbers.items()}


def _cut_lines(text: str) -> str:
    """As many of the lines as a tag holds."""
    if len(text) <= _MAX_NOTE_CHARS:
        return text
    return text[: text.rfind("\n", 0, _MAX_NOTE_CHARS - 5)] + "\n\n…"


def _open_client(uri: str) -> MlflowClient:
    # MLflow prints about its schema, links and news, and waits minutes for a server that does not
    # answer; what the user set in the environment still wins.
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


@contextmanager
def _store_lock(uri: str) -> Iterator[None]:
    """Let one process at a time open a store in a file: two that make its schema break each other."""
    folder = _sqlite_folder(uri)
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".mlflow.lock").open("w") as file:
        with suppress(OSError):  # a mount without locks: as good as before
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sqlite_folder(uri: str) -> Path | None:
    path = uri.removeprefix(_SQLITE)
    return Path(path).resolve().parent if path != uri else None


def _server_errors() -> tuple[type[Exception], ...]:
    """Exceptions that a server, a store or the connection to it can cause."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # A server's HTTP errors are OSErrors (requests).
    return (MlflowException, SQLAlchemyError, OSError)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "no server answers there" if "Max retries exceeded" in text else text[:200]
