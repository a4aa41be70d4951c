"""Fork a run: a new run that takes the stages before some step from another, and goes on from there.

What is taken is copied, so that either run can be deleted. A change of a setting that decides rows of
a stage that would be taken is refused: each section of the settings names the first stage that it
decides (`Section.first_stage`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.config import RunConfig, SuiteConfig
from pipelines.config.flatten import changed_settings
from pipelines.config.load import changed_config, changes_sources
from pipelines.config.section import OF_THE_LAST_POLICY
from pipelines.datasets.contents import with_contents
from pipelines.errors import ConfigError, LakeError
from pipelines.lake.books import AMENDING, Books
from pipelines.lake.copied_run import RunCopy
from pipelines.lake.growth import refused_changes
from pipelines.lake.lease import taken_run
from pipelines.lake.run_state import DELETION, RunState, run_state
from pipelines.lake.seal import Seal
from pipelines.lake.stored_run import stored_config
from pipelines.lake.tables import refuse_another_version
from pipelines.runs.own_answers import require_own_answers
from pipelines.runs.stages_by_name import named_steps
from pipelines.runs.steps import Step, steps_of
from pipelines.runtime.version import code_version

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader

_NOT_ITS_OWN = ("name", "lake")
"""Settings that a fork cannot change."""


@dataclass(frozen=True)
class Fork:
    """A fork that can be made."""

    reader: LakeReader
    run: str
    """The run that is forked."""
    config: RunConfig
    """The new run's."""
    first: Step
    """The first step that is not taken from the other run."""
    seals: list[Seal]
    """Of what is taken."""
    changes: list[str]
    """Settings that differ, as `name: old -> new`."""
    overrides: tuple[str, ...]

    @property
    def first_step(self) -> str:
        """The first step, as the command line names it."""
        return _name_of(self.first.key)

    @property
    def command(self) -> str:
        """The command that makes it."""
        words = ["restem", "runs", "fork", self.run, self.config.name, "--from", self.first_step]
        return shlex.join([*words, *(word for item in self.overrides for word in ("--set", item))])


def plan_fork(
    reader: LakeReader, run: str, name: str, first_step: str, overrides: tuple[str, ...]
) -> Fork:
    """What a fork would take from a run; nothing is written.

    Args:
        reader: the lake.
        run: the run that is forked.
        name: the new run's.
        first_step: the first stage that is not taken, such as `select@1`.
        overrides: changed settings, as `--set` has them.

    Raises:
        ConfigError: a setting breaks its rule, cannot change in a fork, or decides rows that would
            be taken; or there is no such step.
        LakeError: there is no such run, or a stage that would be taken is not sealed.
        InputError: problems' own answers fail the changed reward.
    """
    reader.require_run(run)
    refuse_another_version(reader.location)
    run_state(reader.location, run).require_whole()
    old = stored_config(reader, run)
    for item in overrides:
        field = item.partition("=")[0].strip()
        if field.split(".")[0] in _NOT_ITS_OWN:
            raise ConfigError(f"--set {field}: a fork cannot change it; leave it out")
    new = changed_config(old, name, overrides)
    if changes_sources(overrides):
        new = with_contents(new, old)
    steps = named_steps(first_step, 0, new)
    if len(steps) != 1:
        raise ConfigError(f"--from must be one stage, such as select@1, got {first_step!r}")
    (first,) = steps
    books = Books(reader.location, old, code_version())
    refused = refused_changes(old, new, books.num_cut_at)
    _require_later(refused, old, new, first, run)
    seals = _taken(books.seals(), [s for s in steps_of(new) if s.position < first.position], run)
    require_own_answers(reader.location, old, new, seals)
    changes = changed_settings(old.decisive(), new.decisive())
    return Fork(reader, run, new, first, seals, changes, overrides)


def fork(planned: Fork, say: Callable[[str], None]) -> bool:
    """Make a fork; one that was interrupted goes on.

    Args:
        planned: from `plan_fork`.
        say: called with one line if another start has to be waited for.

    Returns:
        False if the run is this very fork already.

    Raises:
        LakeError: there is another run of this name.
        HeldByAnother: a start works on it.
    """
    location, config = planned.reader.location, planned.config
    change = _identity(planned)
    if is_made(planned.reader, run_state(location, config.name), change):
        return False
    with taken_run(location, config.name, say) as lease:
        state = run_state(location, config.name)
        if is_made(planned.reader, state, change):
            return False
        details = {"taken": [_attempt(seal) for seal in planned.seals]}
        state = state.begin(change, planned.command, lease.fence, details)
        # As it was when the fork was begun: the other run may have gone on since.
        taken = state.begun(change)["taken"]
        books = Books(location, stored_config(planned.reader, planned.run), code_version())
        seals = [seal for seal in books.all_seals() if _attempt(seal) in taken]
        config_hash = config.config_hash()
        RunCopy(location, planned.run, state, lease.fence, config_hash).copy_sealed(seals)
        row = {
            "config_hash": config_hash,
            "config": json.dumps(config.stored()),
            "code_version": code_version(),
            "mlflow_run_id": None,  # its own, from its first start on
            "created_at": datetime.now(UTC),
        }
        state.end(lease.fence, row, {"run": config.name, "forked_from": planned.run})
    return True


def _attempt(seal: Seal) -> list[object]:
    return [seal.iteration, seal.stage, seal.attempt]


def _identity(planned: Fork) -> str:
    source = run_state(planned.reader.location, planned.run)
    settings = json.dumps(planned.config.decisive(), sort_keys=True)
    return f"fork of {source.app_id()} from {planned.first_step} with {settings}"


def is_made(reader: LakeReader, state: RunState, change: str) -> bool:
    """Whether a run is the result of a change already.

    Raises:
        LakeError: it is another run, or another change of it is unfinished.
    """
    if state.is_changing:
        if not state.has(change) or state.has(DELETION):
            state.require_whole()
        return False
    if state.run_id not in reader.runs():
        return False
    if state.has(change):
        return True
    raise LakeError(f"run {state.run_id!r} exists in {reader.uri}; choose another name")


def _require_later(
    refused: list[str], old: RunConfig, new: RunConfig, first: Step, run: str
) -> None:
    """Require that no change alters what is taken."""
    faults = []
    steps = steps_of(new)
    for line in refused:
        decided = _first_decided(line.partition(": ")[0], old, new, steps)
        if decided is not None and decided.position < first.position:
            step = _name_of(decided.key)
            faults.append(
                f"{line}: decides {step} first, which would be taken from run {run!r}; use --from "
                f"{step}, or an earlier stage"
            )
    if faults:
        raise ConfigError("\n".join(faults))


def _first_decided(setting: str, old: RunConfig, new: RunConfig, steps: list[Step]) -> Step | None:
    """The first step whose rows depend on a setting; None if the new run has no such stage."""
    stage, is_last = _first_stage(setting, old), False
    if stage.endswith(OF_THE_LAST_POLICY):
        stage, is_last = stage.removesuffix(OF_THE_LAST_POLICY), True
    last = min(old.num_iterations, new.num_iterations)
    own = [step for step in steps if step.stage.name == stage]
    return next((step for step in own if not is_last or step.iteration == last), None)


def _first_stage(setting: str, old: RunConfig) -> str:
    for suite in old.evaluation.suites:
        within = f"evaluation.suites.{suite.name}."
        if setting.startswith(within):
            return SuiteConfig.first_stage_decided(setting.removeprefix(within).split("."))
    return RunConfig.first_stage_decided(setting.split("."))


def _taken(seals: dict[tuple[int, str], Seal], steps: list[Step], run: str) -> list[Seal]:
    """The seals of the steps, and of what was added to their tables since: people's marks."""
    missing = next((step for step in steps if step.key not in seals), None)
    if missing is not None:
        name = _name_of(missing.key)
        raise LakeError(
            f"run {run!r} has not sealed {name}, which would be taken from it; use --from {name}, "
            f"or let 'restem run' make it first"
        )
    own = [seals[step.key] for step in steps]
    evaluated = {(seal.table_name, seal.iteration) for seal in own}
    amended = {
        seal.iteration for seal in seals.values() if _place(seal) in evaluated and _amends(seal)
    }
    added = [seal for seal in seals.values() if _amends(seal) and seal.iteration in amended]
    return [*own, *added]


def _amends(seal: Seal) -> bool:
    return AMENDING in seal.stage


def _place(seal: Seal) -> tuple[str, int]:
    return seal.table_name, seal.iteration


def _name_of(key: tuple[int, str]) -> str:
    iteration, stage = key
    return f"{stage}@{iteration}"
