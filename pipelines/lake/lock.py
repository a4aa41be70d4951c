"""The lock that lets only one process at a time work on a run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import LakeError
from pipelines.lake.location import Location


@contextmanager
def run_lock(location: Location, run_id: str) -> Iterator[None]:
    """Hold the run's lock; the operating system frees it however the process ends.

    A lake in an object store has no such lock. There two processes that work on one run race for
    each commit's transaction, and the loser stops with an error; nothing is committed twice.

    Raises:
        LakeError: another process holds it, or the lake's folder has no such locks.
    """
    if not location.is_local:
        yield
        return
    folder = location.folder / "_locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(
            f"lake.uri: cannot write {folder} ({error.strerror}); choose another folder"
        ) from None
    path = folder / f"{run_id}.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise LakeError(
                f"run {run_id!r} is being worked on by process {holder}; wait for it to end, or "
                "choose another name with --name"
            ) from None
        except OSError as error:
            raise LakeError(
                f"lake.uri: {location.folder} is on a mount without file locks ({error.strerror}); "
                "put the lake on another mount, or in an object store"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
