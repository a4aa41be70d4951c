"""Run ReST-EM from a configuration: sessions, tracker and gate around the loop."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from jobs.machine.preflight import preflight
from jobs.machine.quiet import engines_to_log, stderr_to_log
from jobs.machine.sessions import Sessions
from pipelines.config import RunConfig
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.rest_em import rest_em
from pipelines.results.report import Report, has_report, report, show_report, write_report
from pipelines.runs.check_context import ExpectationGate
from pipelines.runs.run_listener import Follower
from pipelines.runs.stages_by_name import SPARK_STAGES, named_stages, run_named_stages
from pipelines.runs.tracking import tracker_of
from pipelines.runtime.progress import Progress, for_terminal
from pipelines.stages.binding import Stages


def run(config: RunConfig) -> None:
    """Run, or go on with, the run that the configuration names, and print its report.

    Raises:
        RestEMError: anything the user can cause; see pipelines/errors.py.
    """
    with _opened(config) as door:
        if not door.is_finished:
            with door.started(spark=not door.is_sealed):
                # Of a run that is sealed and was killed before its end, this tells the tracker.
                rest_em(door.lake, door.stages, config.num_iterations)
            made = door.finish()
        else:
            made = report(door.reader, config)
    show_report(made)


def run_stages(config: RunConfig, names: str, iteration: int) -> None:
    """Run some stages by themselves; what they need must be there.

    Args:
        config: the run.
        names: which, as `pipelines.runs.stages_by_name.named_stages` reads them.
        iteration: whose tables.

    Raises:
        RestEMError: as for `run`; or a stage before them was not run.
    """
    wanted = named_stages(names, iteration, config)
    needs_spark = any(name in SPARK_STAGES for _, name in wanted)
    with _opened(config) as door, door.started(spark=needs_spark):
        run_named_stages(door.lake, door.stages, wanted, config.num_iterations)


@dataclass(frozen=True)
class _Door:
    """A run whose lake is open, and what its stages need."""

    config: RunConfig
    lake: Lake
    stages: Stages
    sessions: Sessions
    gate: ExpectationGate
    follower: Follower

    @property
    def reader(self) -> LakeReader:
        """The lake, read-only."""
        return LakeReader(Location.of(self.config.lake))

    @property
    def is_sealed(self) -> bool:
        """Whether the loop's last stage is sealed."""
        return self.lake.is_complete([(self.config.num_iterations, "evaluate")])

    @property
    def is_finished(self) -> bool:
        """Whether what the run leaves beside its tables is there too."""
        return self.is_sealed and has_report(self.config)

    @contextmanager
    def started(self, *, spark: bool = True) -> Iterator[None]:
        """Start what takes seconds: Spark's JVM beside the imports of Python's large libraries.

        One thread imports at a time: two that import one package deadlock or see half of it.

        Args:
            spark: whether the work needs Spark for sure; if not, it is started when asked for.

        Raises:
            RestEMError: something that the configuration names cannot be used.
        """
        preflight(self.config)
        with stderr_to_log(self.sessions.log_folder):
            import pyspark.sql  # noqa: F401 - before the thread that uses it

            with ThreadPoolExecutor(max_workers=1) as starting:
                session = starting.submit(self.sessions.spark) if spark else None
                self.gate.warm_up()
                self.follower.warm_up()
                if session is not None:
                    session.result()
            yield

    def finish(self) -> Report:
        """Write what the run leaves beside its tables, and show it to the tracker."""
        self.gate.write_data_docs()
        made = report(self.reader, self.config)
        self.follower.finish(self.reader)
        write_report(made, self.config)  # Last: it says that all of this was done.
        return made


@contextmanager
def _opened(config: RunConfig) -> Iterator[_Door]:
    progress: Progress = for_terminal()
    with ExitStack() as stack:
        stack.enter_context(engines_to_log(config.folder / "logs"))
        sessions = stack.enter_context(Sessions(config, progress))
        gate = ExpectationGate(config)
        follower = Follower(config, tracker_of(config, progress.say), progress)
        lake = stack.enter_context(open_lake(config, sessions, gate, follower))
        stages = Stages(config, progress, sessions.spark, sessions.start_ray)
        yield _Door(config, lake, stages, sessions, gate, follower)
