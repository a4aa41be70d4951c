"""What ended processes leave on this machine, and would never be removed.

Ray keeps the sockets and logs of each local cluster in a folder, also after its end. The OpenMP library
that engines load has a small file in /dev/shm, which a killed process leaves there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

from pipelines.runtime.process import PROC, Process, this_process

SHARED_MEMORY = Path("/dev/shm")
_OWNER = "restem.json"
_OPENMP = re.compile(r"__KMP_REGISTERED_LIB_(\d+)_(\d+)")
"""Process and user."""


def claim_session(session: Path) -> None:
    """Write into the folder of a Ray session that it is this process's."""
    (session / _OWNER).write_text(json.dumps(asdict(this_process())), encoding="utf-8")


def remove_ended_sessions(folder: Path) -> None:
    """Remove the Ray sessions of starts that were killed: claimed, and their process has ended.

    Args:
        folder: Ray's, in which each session has a folder.
    """
    for mark in folder.glob(f"session_*/{_OWNER}"):
        try:
            owner = Process(**json.loads(mark.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):
            continue
        if owner.is_running() is False:
            remove_session(mark.parent)


def remove_session(session: Path) -> None:
    """Remove a Ray session's folder, and the link to the latest session if it leads there."""
    if not session.is_symlink():
        shutil.rmtree(session, ignore_errors=True)
    latest = session.parent / "session_latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)


def remove_openmp_files(folder: Path = SHARED_MEMORY) -> None:
    """Remove the files of this user's processes that have ended."""
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        found = _OPENMP.fullmatch(file.name)
        if found and int(found[2]) == os.getuid() and not (PROC / found[1]).exists():
            with contextlib.suppress(OSError):
                file.unlink()
