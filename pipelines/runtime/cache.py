"""Cache of what every run can use: Delta's jars, the embedded model, a Java."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """`RESTEM_CACHE` if set, else `.cache` in a checkout, else `~/.cache/restem`."""
    named = os.environ.get("RESTEM_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    if (_ROOT / "pyproject.toml").is_file():
        return _ROOT / ".cache"
    return Path.home() / ".cache" / "restem"


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it is renamed to `folder` at the end.

    If another process made `folder` meanwhile, that one stays. If the block raises, nothing is left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        if not folder.exists():
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
