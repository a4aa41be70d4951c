"""A run's folder of logs and reports, when the run is renamed or deleted."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, which may not be on this machine."""

    path: Path

    @property
    def is_here(self) -> bool:
        """Whether there is such a folder."""
        return self.path.is_dir()

    @property
    def size(self) -> int:
        """Bytes of the files in it."""
        return sum(f.lstat().st_size for f in self.path.rglob("*") if not f.is_dir())

    def move(self, target: Path) -> None:
        """Make it the folder of another name; what is moved already stays there."""
        for entry in sorted(self.path.iterdir()) if self.is_here else []:
            target.mkdir(parents=True, exist_ok=True)
            shutil.move(entry, target / entry.name)
        if self.is_here:
            self.path.rmdir()

    def remove(self) -> None:
        """Delete it with all that is in it."""
        if self.is_here:
            shutil.rmtree(self.path)
