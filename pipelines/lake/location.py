"""Where a lake is, and where its tables are in it. Nothing outside this package knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipelines.errors import LakeError, first_line

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.fs import DeltaStorageHandler

    from pipelines.config import LakeConfig

POLICIES_FOLDER = "_policies"
"""Where trained policies are in a lake; see pipelines/checkpoints/store.py."""
_BLOCK = 16 * 2**20
"""Bytes that are copied at once between a machine and an object store."""
_PATIENT = {
    "max_retries": "1000",
    "retry_timeout": "120s",
    "backoff_config.init_backoff": "200ms",
    "backoff_config.max_backoff": "5s",
}
"""delta-rs's options for requests to a store; `lake.storage_options` may replace them."""


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

    def patient(self) -> Location:
        """The same location, waiting up to two minutes for a store that does not answer.

        By default delta-rs gives up after about two seconds of refused connections, which is right
        for a mistake in the address, and not for a run at work.
        """
        if self.is_local:
            return self
        return Location(self.uri, {**_PATIENT, **self.storage_options})

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

    def path_in(self, table: str, uri: str) -> str:
        """The path of a table's file, relative to the table's root."""
        root = self.table(table).removeprefix("file://")
        return unquote(uri.removeprefix("file://").removeprefix(root).lstrip("/"))

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        from deltalake import DeltaTable

        return bool(
            DeltaTable.is_deltatable(self.table(name), storage_options=self.storage_options)
        )

    def lake_id(self) -> str | None:
        """An id that the lake keeps when it is moved; None if nothing is in it yet.

        Raises:
            LakeError: the store does not answer.
        """
        with self._readable_errors("runs"):
            return str(self.open_table("runs").metadata().id) if self.has_table("runs") else None

    def open_table(self, name: str, version: int | None = None) -> DeltaTable:
        """A table at a version, the newest if None.

        Raises:
            TableNotFoundError: delta-rs's; there is no such table.
            DeltaError: delta-rs's; the table has no such version, or cannot be read.
        """
        from deltalake import DeltaTable

        return DeltaTable(self.table(name), version=version, storage_options=self.storage_options)

    def write(self, path: str, data: bytes) -> None:
        """Write an object whole: readers see what was there before, or all of `data`.

        Args:
            path: relative to the lake's root.
            data: its content.
        """
        if self.is_local:
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{file.name}.partial")
            partial.write_bytes(data)
            partial.replace(file)
            return
        # Not through pyarrow's file: it hands delta-rs its own buffers, which delta-rs refuses.
        # Any, as delta-rs's stubs do not declare close().
        stream: Any = self._store()._handler.open_output_stream(path, None)
        stream.write(data)
        stream.close()

    def read(self, path: str) -> bytes | None:
        """The content of an object; None if there is none.

        Args:
            path: relative to the lake's root.
        """
        try:
            if self.is_local:
                return (self.folder / path).read_bytes()
            return bytes(self._store().open_input_file(path).read())
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """The size of an object in bytes; None if there is none.

        Args:
            path: relative to the lake's root.

        Raises:
            LakeError: the store does not answer.
        """
        if self.is_local:
            file = self.folder / path
            return file.stat().st_size if file.is_file() else None
        with self._readable_errors(path):
            (found,) = self._store().get_file_info([path])
            return int(found.size) if found.is_file else None

    def upload(self, file: Path, path: str, advance: Callable[[int], None]) -> None:
        """Copy a file of this machine to an object store, whatever its size.

        Args:
            file: what is copied.
            path: of the object, relative to the lake's root; it appears whole.
            advance: called with the number of bytes of each block.

        Raises:
            LakeError: the store does not take it.
        """
        with self._readable_errors(path), file.open("rb") as opened:
            # Any, and not pyarrow's file: see `write`.
            stream: Any = self._store()._handler.open_output_stream(path, None)
            while block := opened.read(_BLOCK):
                stream.write(block)
                advance(len(block))
            stream.close()

    def blocks(self, path: str) -> Iterator[bytes]:
        """The content of an object, block by block.

        Args:
            path: relative to the lake's root.

        Raises:
            FileNotFoundError: there is none.
            LakeError: the store does not answer.
        """
        with self._readable_errors(path):
            file = self.folder / path if self.is_local else None
            # Any, as delta-rs's stubs do not declare its files.
            opened: Any = file.open("rb") if file else self._store()._handler.open_input_file(path)
            with closing(opened):
                while block := opened.read(_BLOCK):
                    yield bytes(block)

    def delete(self, path: str) -> None:
        """Delete an object, if it is there; `path` is relative to the lake's root."""
        try:
            if self.is_local:
                (self.folder / path).unlink()
            else:
                self._store().delete_file(path)
        except FileNotFoundError:
            return

    @contextmanager
    def _readable_errors(self, path: str) -> Iterator[None]:
        """Turn the store's errors into a LakeError of one line."""
        from deltalake.exceptions import DeltaError

        try:
            yield
        except FileNotFoundError:
            raise
        except (DeltaError, OSError) as error:
            raise LakeError(
                f"lake.uri: cannot use {self.uri}/{path}: {first_line(error)[:200]}; check the "
                "network and lake.storage_options, and start the same command again"
            ) from None

    def _store(self) -> DeltaStorageHandler:
        from deltalake.fs import DeltaStorageHandler  # only an object store needs it

        return DeltaStorageHandler(self.uri, self.storage_options)
