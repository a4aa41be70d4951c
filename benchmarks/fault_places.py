"""Small file systems that can be filled, and a /dev/shm that no other program writes to.

They are mounted in a mount namespace of this process, so that nothing outside sees them and the
kernel removes them with the last process of the namespace. That needs root or user namespaces.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PRIVATE = "RESTEM_FAULTS_PRIVATE"
_FILLER = "filler"
_BLOCK = b"\0" * 2**16
SHARED_MEMORY = Path("/dev/shm")


def enter_private_mounts(arguments: Sequence[str]) -> bool:
    """Start this command again in a mount namespace of its own, unless it is in one.

    Returns:
        Whether it is in one; False: namespaces are not allowed here.
    """
    if os.environ.get(_PRIVATE):
        mount_tmpfs(SHARED_MEMORY, "8g", mode="1777")
        return True
    command = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid():
        command += ["--user", "--map-root-user"]
    try:
        works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        works = False
    if works:
        again = [*command, sys.executable, "-m", "benchmarks.faults", *arguments]
        os.execvpe(again[0], again, {**os.environ, _PRIVATE: "1"})
    return False


def mount_tmpfs(folder: Path, size: str, mode: str = "700") -> None:
    """Mount an empty file system in memory on a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode={mode}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """Unmount what is mounted on a folder, if anything is."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def fill(folder: Path) -> None:
    """Write a file until the folder's file system has no space left."""
    with (folder / _FILLER).open("wb", buffering=0) as file:
        block = _BLOCK
        while block:
            try:
                file.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                block = block[: len(block) // 2]


def make_space(folder: Path) -> None:
    """Remove the file that `fill` wrote."""
    (folder / _FILLER).unlink(missing_ok=True)
