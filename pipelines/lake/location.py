"""Where a lake is, and where its tables are in it. Nothing outside this package knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from pipelines.config import LakeConfig


@dataclass(frozen=True)
class Location:
    """A lake's root: a folder or an object store's prefix.

    `uri` is absolute, without a trailing slash; `storage_options` are delta-rs's.
    """

    uri: str
    storage_options: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, config: LakeConfig) -> Location:
        """The location that a configuration names."""
        from pipelines.config.secret import revealed  # pydantic: not for readers of a lake

        return cls.at(config.uri, revealed(config.storage_options))

    @classmethod
    def at(cls, uri: str, storage_options: Mapping[str, str]) -> Location:
        """The location at a URI; a relative folder is made absolute."""
        uri = uri.rstrip("/")
        if "://" not in uri:
            uri = str(Path(uri).expanduser().resolve())
        return cls(uri, dict(storage_options))

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return "://" not in self.uri or self.uri.startswith("file://")

    @property
    def folder(self) -> Path:
        """The folder of a local lake."""
        return Path(self.uri.removeprefix("file://"))

    def table(self, name: str) -> str:
        """The URI of a table."""
        return f"{self.uri}/{name}"

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        from deltalake import DeltaTable

        return bool(
            DeltaTable.is_deltatable(self.table(name), storage_options=self.storage_options)
        )

    def open_table(self, name: str, version: int | None = None) -> DeltaTable:
        """A table at a version, the newest if None.

        Raises:
            TableNotFoundError: delta-rs's; there is no such table.
            DeltaError: delta-rs's; the table has no such version, or cannot be read.
        """
        from deltalake import DeltaTable

        return DeltaTable(self.table(name), version=version, storage_options=self.storage_options)
