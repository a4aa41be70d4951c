"""A run's folder of logs, checkpoints and reports, when the run is renamed or deleted."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lake.sql_text import sql_literal

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader


@dataclass(frozen=True)
class RunFolder:
    """What is in a run's folder."""

    path: Path
    own: list[Path]
    """Entries that no other run needs."""
    shared: list[Path]
    """Entries with a checkpoint that a policy of another run names."""

    @property
    def size(self) -> int:
        """Bytes of the run's own entries."""
        files = (file for entry in self.own for file in (entry, *entry.rglob("*")))
        return sum(file.lstat().st_size for file in files if not file.is_dir())

    def remove(self) -> None:
        """Delete the run's own entries, and the folder if nothing is left in it."""
        for entry in self.own:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self._remove_if_empty()

    def move(self, target: Path) -> None:
        """Move the run's own entries into another folder."""
        if self.own:
            target.mkdir(parents=True, exist_ok=True)
        for entry in self.own:
            shutil.move(entry, target / entry.name)
        self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


def folder_of(reader: LakeReader, run: str, path: Path) -> RunFolder:
    """What is in a run's folder, by whether another run needs it.

    Args:
        reader: the lake.
        run: the run.
        path: its folder, which may not be there.
    """
    entries = sorted(path.iterdir()) if path.is_dir() else []
    sql = f"SELECT DISTINCT checkpoint_uri FROM policies WHERE run_id <> {sql_literal(run)}"
    named = [Path(row["checkpoint_uri"]).absolute() for row in reader.rows(sql)]
    shared = [e for e in entries if any(uri.is_relative_to(e.absolute()) for uri in named)]
    return RunFolder(path, [entry for entry in entries if entry not in shared], shared)
