"""The folders in which Ray keeps a local cluster's sockets and logs, which Ray never removes."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pipelines.runtime.process import Process, this_process

_OWNER = "restem.json"


def claim(session: Path) -> None:
    """Write into a session's folder that it is this process's."""
    (session / _OWNER).write_text(json.dumps(asdict(this_process())), encoding="utf-8")


def remove_ended(folder: Path) -> None:
    """Remove the sessions of starts that were killed: claimed, and their process has ended.

    Args:
        folder: Ray's, in which each session has a folder.
    """
    for mark in folder.glob(f"session_*/{_OWNER}"):
        try:
            owner = Process(**json.loads(mark.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):
            continue
        if owner.is_running() is False:
            remove(mark.parent)


def remove(session: Path) -> None:
    """Remove a session's folder, and the link to the latest session if it leads there."""
    if not session.is_symlink():
        shutil.rmtree(session, ignore_errors=True)
    latest = session.parent / "session_latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)
