"""Where things that any run can use again are kept: Delta's jars, the embedded model, a Java."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """`RESTEM_CACHE` if set; else `.cache` in a checkout, `~/.cache/restem` where installed."""
    named = os.environ.get("RESTEM_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    if (_ROOT / "pyproject.toml").is_file():
        return _ROOT / ".cache"
    return Path.home() / ".cache" / "restem"


@contextmanager
def made_at_once(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its place only when it is whole.

    Yields a new folder beside `folder`, renamed to it at the end. If another process was quicker,
    its folder stays; if the work fails, nothing does.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    filling = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        yield filling
        if not folder.exists():
            filling.rename(folder)
    finally:
        shutil.rmtree(filling, ignore_errors=True)
