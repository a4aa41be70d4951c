"""Run ReST-EM from a configuration: sessions, tracker and gate around the loop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from jobs.sessions import Sessions
from pipelines.config import RunConfig
from pipelines.following import Follower
from pipelines.gate import ExpectationGate
from pipelines.lake.lake import Lake, open_lake
from pipelines.progress import Progress, for_terminal
from pipelines.report import print_report
from pipelines.rest_em import rest_em
from pipelines.stages import Stages
from pipelines.tracking import tracker_of


def run(config: RunConfig, progress: Progress | None = None) -> None:
    """Run, or go on with, the run that the configuration names, and print its report.

    Raises:
        RestEMError: anything the user can cause; see pipelines/errors.py.
    """
    progress = progress or for_terminal()
    with ExitStack() as stack:
        sessions = stack.enter_context(Sessions(config, progress))
        gate = ExpectationGate(config)
        follower = Follower(config, tracker_of(config), progress)
        lake = stack.enter_context(open_lake(config, sessions, gate, follower))
        if not lake.is_complete([(config.num_iterations, "evaluate")]):
            _run(config, lake, sessions, gate, follower, progress)
    print_report(config)


def _run(
    config: RunConfig,
    lake: Lake,
    sessions: Sessions,
    gate: ExpectationGate,
    follower: Follower,
    progress: Progress,
) -> None:
    # Python imports and JVM starts are most of a small run's fixed cost: they overlap here.
    with ThreadPoolExecutor(max_workers=3) as starting:
        starting.submit(sessions.spark)
        starting.submit(gate.warm_up)
        lake.record_run(follower.start())
        rest_em(lake, Stages(config, progress, sessions.spark), config.num_iterations)
    follower.finish()
