"""The version of restem: the package's and, in a checkout, the commit."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

VERSION = "0.1.0"


@functools.cache
def code_version() -> str:
    """`0.1.0+1a2b3c4d5e6f`, with `.dirty` if tracked files are changed, or `0.1.0` outside git."""
    root = Path(__file__).resolve().parents[2]
    try:
        # --exclude=*: always the commit, never a tag's name.
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=.dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return VERSION
    return f"{VERSION}+{described.stdout.strip()}"
