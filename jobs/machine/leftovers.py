"""What ended processes leave on this machine, and would never be removed.

Ray keeps the sockets and logs of each local cluster in a folder, also after its end. A JVM that is killed
leaves its temporary files, Spark's shuffles among them. The OpenMP library that engines load has a small
file in /dev/shm, which a killed process leaves there. Folders are claimed by the process that they are
for, so that the next start removes those whose process was killed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from pipelines.runtime.process import PROC, Process, this_process

SHARED_MEMORY = Path("/dev/shm")
RAY_SESSION = "session_"
_OF_JVM = "restem-jvm-"
_OWNER = "restem.json"
_OPENMP = re.compile(r"__KMP_REGISTERED_LIB_(\d+)_(\d+)")
"""Process and user."""


def temporary_folder() -> Path:
    """A folder for the temporary files of this process's JVM, removed when the process ends."""
    parent = Path(tempfile.gettempdir())
    remove_ended(parent, _OF_JVM)
    # Also where this start does not come to need Ray.
    remove_ended(Path(os.environ.get("RAY_TMPDIR", parent)) / "ray", RAY_SESSION)
    remove_openmp_files()
    folder = Path(tempfile.mkdtemp(prefix=_OF_JVM, dir=parent))
    claim(folder)
    atexit.register(remove, folder)
    return folder


def claim(folder: Path) -> None:
    """Write into a folder that it is this process's."""
    (folder / _OWNER).write_text(json.dumps(asdict(this_process())), encoding="utf-8")


def remove_ended(parent: Path, prefix: str) -> None:
    """Remove the folders of starts that were killed: claimed, and their process has ended.

    Args:
        parent: the folder in which they are.
        prefix: what their names begin with.
    """
    for mark in parent.glob(f"{prefix}*/{_OWNER}"):
        try:
            owner = Process(**json.loads(mark.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):
            continue
        if owner.is_running() is False:
            remove(mark.parent)


def remove(folder: Path) -> None:
    """Remove a folder, and Ray's link to its latest session if it led there."""
    if not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    latest = folder.parent / "session_latest"
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
