"""Delete a run, or give it another name: the lake's rows, the run's folder, its run in the tracker.

Each is made of steps that may be repeated, so that the same command goes on after a kill. The last
step is the commit that frees the run's name.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.config.load import changed_config
from pipelines.lake.books import Books
from pipelines.lake.copied_run import RunCopy
from pipelines.lake.deleted_run import delete_rows
from pipelines.lake.lease import taken_run
from pipelines.lake.run_state import DELETION, run_state
from pipelines.lake.sizes import Size, sizes_by_run
from pipelines.lake.sql_text import sql_equals
from pipelines.lake.stored_run import pinned_config, stored_config
from pipelines.lake.tables import refuse_another_version
from pipelines.runs.fork import is_made
from pipelines.runs.run_folder import RunFolder
from pipelines.runs.steps import steps_of
from pipelines.runs.tracking import stored_tracker
from pipelines.runtime.version import code_version

if TYPE_CHECKING:
    from pipelines.lake.fence import Fence
    from pipelines.lake.reader import LakeReader
    from pipelines.lake.run_state import RunState

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deletion:
    """What the deletion of a run removes."""

    reader: LakeReader
    run: str
    config: RunConfig | None
    """None of a run that was not made whole: a fork that was interrupted."""
    tables: dict[str, Size]
    folder: RunFolder | None


def plan_deletion(reader: LakeReader, run: str) -> Deletion:
    """What would be removed with a run; nothing is written.

    Raises:
        LakeError: there is no such run, or another version of restem made it.
    """
    if not run_state(reader.location, run).is_changing:
        reader.require_run(run)
    refuse_another_version(reader.location)
    config = pinned_config(reader, run)
    folder = None if config is None else RunFolder(config.folder)
    return Deletion(reader, run, config, sizes_by_run(reader.location).get(run, {}), folder)


def delete_run(planned: Deletion, say: Say) -> None:
    """Delete a run; one whose deletion was interrupted is deleted to the end.

    Its files stay in the tables' folders, where earlier versions name them, until `restem vacuum`.

    Args:
        planned: from `plan_deletion`.
        say: called with one line per warning, and if another start has to be waited for.

    Raises:
        HeldByAnother: a start works on it.
    """
    reader, run = planned.reader, planned.run
    with taken_run(reader.location, run, say) as lease:
        state = run_state(reader.location, run)
        state = state.begin(DELETION, shlex.join(["restem", "runs", "delete", run]), lease.fence)
        if planned.config is not None:
            _delete_in_tracker(reader, planned.config, say)
            RunFolder(planned.config.folder).remove()
        delete_rows(state, lease.fence)
        lease.forget()


def rename_run(reader: LakeReader, run: str, name: str, say: Say) -> bool:
    """Give a run another name; a renaming that was interrupted goes on.

    All that is committed is copied under the new name, sealed or not, and then deleted under the old
    one. If its folder is on this machine, it is moved. Policies are stored by their weights, not by run.

    Args:
        reader: the lake.
        run: the run.
        name: its new name.
        say: called with one line per warning, and if another start has to be waited for.

    Returns:
        False if the run has this name already, by this very command.

    Raises:
        ConfigError: the new name is not one.
        LakeError: there is no such run, or there is one of the new name.
        HeldByAnother: a start works on one of the two.
    """
    location = reader.location
    if _was_renamed(reader, run, name):
        return False
    reader.require_run(run)
    refuse_another_version(location)
    config = stored_config(reader, run)
    renamed = changed_config(config, name, ())
    _check_renaming(reader, run, name)
    with taken_run(location, run, say) as lease, taken_run(location, name, say) as new_lease:
        old, new = _check_renaming(reader, run, name)
        change = _renaming(run, old.num_deleted, name)
        command = shlex.join(["restem", "runs", "rename", run, name])
        old = old.begin(change, command, lease.fence)
        if new.is_changing or not new.has(change):
            new = new.begin(change, command, new_lease.fence)
            _copy(reader, config, renamed, new, new_lease.fence, say)
        delete_rows(old, lease.fence)
        lease.forget()
    return True


def _renaming(run: str, num_deleted: int, name: str) -> str:
    return f"renaming of {run}@{num_deleted} to {name}"


def _was_renamed(reader: LakeReader, run: str, name: str) -> bool:
    """Whether this very renaming is complete: the old name is free since."""
    state = run_state(reader.location, run)
    if run in reader.runs() or state.is_changing or not state.num_deleted:
        return False
    new = run_state(reader.location, name)
    return not new.is_changing and new.has(_renaming(run, state.num_deleted - 1, name))


def _check_renaming(reader: LakeReader, run: str, name: str) -> tuple[RunState, RunState]:
    """Require that a run can be renamed; the state of both names.

    Raises:
        LakeError: there is another run of the new name, or another change of either is unfinished.
    """
    old, new = run_state(reader.location, run), run_state(reader.location, name)
    change = _renaming(run, old.num_deleted, name)
    if not old.has(change) or old.has(DELETION):
        old.require_whole()
    is_made(reader, new, change)
    return old, new


def _copy(
    reader: LakeReader,
    config: RunConfig,
    renamed: RunConfig,
    new: RunState,
    fence: Fence,
    say: Say,
) -> None:
    location, run = reader.location, config.name
    seals = Books(location, config, code_version()).all_seals()
    stages = {(s.stage.table.name, s.iteration): s.stage.name for s in steps_of(config)}
    RunCopy(location, run, new, fence).copy_all(seals, stages)
    RunFolder(config.folder).move(renamed.folder)
    _rename_in_tracker(reader, config, renamed.name, say)
    (row,) = reader.rows(f"SELECT * FROM runs WHERE {sql_equals(run_id=run)}")
    own = {key: value for key, value in row.items() if key not in ("run_id", "iteration")}
    # The stored settings, not those of this machine in their place.
    tree = {**json.loads(row["config"]), "name": renamed.name}
    own["config"] = json.dumps(tree)
    new.end(fence, own, {"run": renamed.name, "renamed_from": run})


def _delete_in_tracker(reader: LakeReader, config: RunConfig, say: Say) -> None:
    run_id = _tracked_run(reader, config.name)
    tracker = None if run_id is None else stored_tracker(config, say)
    if tracker is not None and run_id is not None:
        tracker.delete(run_id)


def _rename_in_tracker(reader: LakeReader, config: RunConfig, name: str, say: Say) -> None:
    run_id = _tracked_run(reader, config.name)
    tracker = None if run_id is None else stored_tracker(config, say)
    if tracker is not None and run_id is not None:
        tracker.rename(run_id, name)


def _tracked_run(reader: LakeReader, run: str) -> str | None:
    """The run's id in the tracker, if it was logged."""
    (row,) = reader.rows(f"SELECT mlflow_run_id FROM runs WHERE {sql_equals(run_id=run)}")
    found: str | None = row["mlflow_run_id"]
    return found
