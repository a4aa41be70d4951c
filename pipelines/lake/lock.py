"""The lock file of a lake in a folder: the fast way to see that a run is being worked on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import HeldByAnother, LakeError
from pipelines.lake.location import Location


@contextmanager
def run_lock(location: Location, run_id: str) -> Iterator[bool]:
    """Hold the run's lock file; the operating system frees it however the process ends.

    It is a short cut, not the guarantee: the lease (pipelines/lake/lease.py) is. An object store has
    no locks, some mounts have none, and others keep them within one machine.

    Yields:
        Whether the lock is held: no process of this machine's kernel works on the run.

    Raises:
        HeldByAnother: another process holds it.
        LakeError: the folder cannot be written.
    """
    if not location.is_local:
        yield False
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
            raise HeldByAnother(
                f"run {run_id!r} is being worked on by process {holder}; wait for it to end, or "
                "choose another name with --name"
            ) from None
        except OSError:
            yield False  # the mount has no locks
            return
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield True
