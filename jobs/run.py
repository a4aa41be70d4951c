"""Run ReST-EM from a configuration: sessions, tracker and gate around the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from jobs.machine.places import (
    claim_folder,
    naming_full_disks,
    require_own_folder,
    require_writable,
)
from jobs.machine.preflight import pinned_to_contents, preflight
from jobs.machine.quiet import engines_to_log, stderr_to_log
from jobs.machine.sessions import Sessions
from jobs.show.pages.report import INDEX, write_report_pages
from jobs.show.report import discard_report, has_report, show_report, write_report
from pipelines.checkpoints.load import PolicyLoader
from pipelines.config import RunConfig
from pipelines.errors import HeldByAnother, first_line
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.rest_em import rest_em
from pipelines.results.markdown import in_markdown
from pipelines.results.report import RunReport, report
from pipelines.runs.check_context import ExpectationGate
from pipelines.runs.lost_policies import train_lost_policies
from pipelines.runs.run_listener import RunListener
from pipelines.runs.stages_by_name import named_steps, run_steps
from pipelines.runs.steps import Step, steps_of, timed_stages
from pipelines.runs.tracking import Ending, tracker_of
from pipelines.runtime.progress import Progress, for_terminal
from pipelines.stage import Engine
from pipelines.stages.binding import Stages
from pipelines.stages.ingest import SourceRows


def run(config: RunConfig, typed: Sequence[str] = ()) -> None:
    """Run, or go on with, the run that the configuration names, and print its report.

    Args:
        config: the run.
        typed: the arguments that the command was given, for the commands that the report ends with.

    Raises:
        RestEMError: anything the user can cause; see pipelines/errors.py.
    """
    with _open_run(config) as opened:
        if not opened.is_finished:
            discard_report(config)  # of a run that is finished and grows now
            pending, sources = opened.pending, SourceRows(opened.config)
            with opened.started(pending, sources, spark=bool(pending)):
                opened.train_lost_policies(pending)
                # A run that was killed after its last seal has nothing to make: this only completes
                # what the tracker has of it.
                stages = Stages(opened.config, sources)
                rest_em(opened.lake, stages, config.num_iterations)
            made = opened.finish(typed)
        else:
            made = opened.report(typed)
    show_report(made)


def run_stages(config: RunConfig, names: str, iteration: int) -> None:
    """Run some stages by themselves; their inputs must be sealed.

    Args:
        config: the run.
        names: stage names, as `pipelines.runs.stages_by_name.named_steps` reads them.
        iteration: that of the names without one.

    Raises:
        RestEMError: as for `run`; or a stage that they need was not run.
    """
    steps = named_steps(names, iteration, config)
    needs_spark = any(step.stage.engine is Engine.SPARK for step in steps)
    with (
        _open_run(config) as opened,
        opened.started(steps, SourceRows(opened.config), spark=needs_spark),
    ):
        is_made = opened.lake.is_made
        opened.train_lost_policies([s for s in steps if not is_made(s.stage, s.iteration)])
        run_steps(opened.lake, steps)
        if opened.pending:
            opened.follower.stop(Ending.HAS_MORE_STAGES, f"{names} done; other stages are to come")
        else:
            opened.follower.stop(Ending.COMPLETE, "complete; `restem run` writes its report")


@dataclass(frozen=True)
class _OpenRun:
    """A run whose lake is open, and what its stages need."""

    config: RunConfig
    lake: Lake
    sessions: Sessions
    gate: ExpectationGate
    follower: RunListener
    progress: Progress

    @property
    def reader(self) -> LakeReader:
        """The lake, read-only."""
        return LakeReader(Location.of(self.config.lake))

    @property
    def pending(self) -> list[Step]:
        """The steps that are not sealed with all that the configuration asks of them."""
        steps = steps_of(self.config)
        return [step for step in steps if not self.lake.is_made(step.stage, step.iteration)]

    @property
    def is_finished(self) -> bool:
        """Whether every step is sealed and the report written."""
        return not self.pending and has_report(self.config)

    @contextmanager
    def started(self, steps: Sequence[Step], sources: SourceRows, *, spark: bool) -> Iterator[None]:
        """Start what takes seconds: Spark's JVM beside the imports of Python's large libraries.

        One thread imports at a time: two threads that import one package deadlock, or see a part
        of it.

        Args:
            steps: the steps to come.
            sources: the problems' rows, which are checked unless they are in the lake.
            spark: whether the work is known to need Spark; if not, it is started when asked for.

        Raises:
            RestEMError: something that the configuration names cannot be used.
        """
        names = {step.stage.name for step in steps}
        unchecked = None if self.lake.is_sealed(0, "ingest") else sources
        preflight(self.config, names, unchecked, self.sessions.start_ray, self.progress.say)
        claim_folder(self.config)
        with stderr_to_log(self.sessions.log_folder):
            import pyspark.sql  # noqa: F401 - before the thread that uses it

            with ThreadPoolExecutor(max_workers=1) as starting:
                session = starting.submit(self.sessions.spark) if spark else None
                self.gate.warm_up()
                self.follower.warm_up()
                if session is not None:
                    session.result()
            yield

    def report(self, typed: Sequence[str]) -> RunReport:
        """The run's report; its plot is written to the run's folder."""
        folder = self.config.folder
        plot, pages = folder / "accuracy.png", folder / "report" / INDEX
        made = report(self.reader, self.config, timed_stages(self.config), typed, plot)
        return replace(made, pages=pages)

    def train_lost_policies(self, pending: Sequence[Step]) -> None:
        """See pipelines.runs.lost_policies.

        Args:
            pending: the steps to come.
        """
        train_lost_policies(self.lake, pending, PolicyLoader.of(self.config), self.progress)

    def finish(self, typed: Sequence[str]) -> RunReport:
        """Write what the run leaves beside its tables, log it to the tracker, and report it."""
        claim_folder(self.config)  # again, by the lake's id: a new lake has none before
        self.gate.write_data_docs()
        made = self.report(typed)
        pages = write_report_pages(self.reader, [self.config.name], self.config.folder / "report")
        self.follower.finish(self.reader, pages.parent, in_markdown(made))
        write_report(made, self.config)  # Last: its file says that the run is finished.
        return made


@contextmanager
def _open_run(config: RunConfig) -> Iterator[_OpenRun]:
    progress = for_terminal()
    require_writable(config)
    require_own_folder(config)
    config = pinned_to_contents(config, ask_hub=True)
    with ExitStack() as stack:
        stack.enter_context(naming_full_disks(config))
        stack.enter_context(engines_to_log(config.folder / "logs"))
        sessions = stack.enter_context(Sessions(config))
        gate = ExpectationGate(config)
        follower = RunListener(config, tracker_of(config, progress.say), progress)
        lake = stack.enter_context(open_lake(config, sessions, gate, follower, progress))
        with _closing(follower):
            yield _OpenRun(config, lake, sessions, gate, follower, progress)


@contextmanager
def _closing(follower: RunListener) -> Iterator[None]:
    """Close the tracker's run if this start fails or is interrupted."""
    try:
        yield
    except HeldByAnother:
        raise  # it is another start's now
    except KeyboardInterrupt:
        follower.stop(Ending.INTERRUPTED, "interrupted; the same command goes on")
        raise
    except BaseException as error:
        follower.stop(Ending.FAILED, f"{type(error).__name__}: {first_line(error)}")
        raise
