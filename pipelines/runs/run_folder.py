"""A run's folder of logs, checkpoints and reports, when the run is renamed or deleted."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import LakeError
from pipelines.lake.sql_text import sql_list

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader


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

    def require_unnamed(self, reader: LakeReader, *own: str) -> None:
        """Require that no policy of another run is a checkpoint in the folder.

        Args:
            reader: the lake.
            own: the runs whose policies may be.

        Raises:
            LakeError: policies of other runs are.
        """
        if not self.is_here:
            return
        sql = (
            "SELECT DISTINCT run_id, checkpoint_uri FROM policies "
            f"WHERE run_id NOT IN {sql_list(own)} ORDER BY run_id"
        )
        inside = [row["run_id"] for row in reader.rows(sql) if self.holds(row["checkpoint_uri"])]
        if inside:
            raise LakeError(
                f"run {own[0]!r}: checkpoints in {self.path} are policies of "
                f"{', '.join(dict.fromkeys(inside))}, which took them; delete that first"
            )

    def holds(self, uri: str) -> bool:
        """Whether a checkpoint is in the folder."""
        return Path(uri).absolute().is_relative_to(self.path.absolute())

    def moved_uri(self, uri: str, target: Path) -> str:
        """The place of a checkpoint after `move`; what is not in the folder stays."""
        if not self.holds(uri):
            return uri
        place = Path(uri).absolute().relative_to(self.path.absolute())
        return str((target.absolute() if Path(uri).is_absolute() else target) / place)

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
