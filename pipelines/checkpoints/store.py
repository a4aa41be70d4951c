"""The trained policies of a lake, stored beside its tables: `<lake>/_policies/<policy id>/`.

A policy's folder is an ordinary checkpoint with one more file, `files.json`, which names the others
with their sizes and hashes. It is written last, so a policy is there when it is. A lake in a folder has
the checkpoints themselves there. From an object store each machine fetches what it needs into its own
cache, which holds the policies that were used last.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import ValidationError, field_validator, model_validator

from pipelines.checkpoints.policy import (
    PolicyRef,
    id_of_digests,
    note_policy_id,
    policy_id_of,
    sha256_of,
)
from pipelines.config import Section
from pipelines.errors import InputError, PolicyLost
from pipelines.lake.location import POLICIES_FOLDER, Location
from pipelines.runtime.cache import atomic_folder, cache_folder
from pipelines.runtime.progress import Progress, SilentProgress

FILES = "files.json"
MAX_CACHED = 4
"""Number of policies that a machine's cache holds: those that were used last."""
_DAY = 24 * 60 * 60.0


class StoredFile(Section):
    """A file of a checkpoint."""

    path: str
    """Relative to the checkpoint's folder."""
    size: int
    """Bytes."""
    sha256: str

    @field_validator("path")
    @classmethod
    def _stays_in_its_folder(cls, path: str) -> str:
        # A lake may be a stranger's.
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"must be a path in the checkpoint's folder, got {path!r}")
        return path


class StoredFiles(Section):
    """All files of a checkpoint."""

    files: tuple[StoredFile, ...]

    @model_validator(mode="after")
    def _holds_weights(self) -> Self:
        if not self.weights:
            raise ValueError("files must hold *.safetensors")
        return self

    @classmethod
    def of(cls, checkpoint: Path) -> StoredFiles:
        """The files of a folder."""
        paths = sorted(path for path in checkpoint.rglob("*") if path.is_file())
        return cls(
            files=tuple(
                StoredFile(
                    path=path.relative_to(checkpoint).as_posix(),
                    size=path.stat().st_size,
                    sha256=sha256_of(path).hex(),
                )
                for path in paths
                if path != checkpoint / FILES
            )
        )

    @property
    def weights(self) -> list[StoredFile]:
        """Those that the policy is named by."""
        return [f for f in self.files if f.path.endswith(".safetensors") and "/" not in f.path]

    @property
    def policy_id(self) -> str:
        """The id of the policy that they are; see `policy_id_of`."""
        return id_of_digests(bytes.fromhex(file.sha256) for file in self.weights)

    @property
    def num_bytes(self) -> int:
        """Their size together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class PolicyStore:
    """The policies of a lake; picklable, used on every node."""

    location: Location

    def uri(self, policy_id: str) -> str:
        """Where a policy's checkpoint is."""
        return f"{self.location.uri}/{POLICIES_FOLDER}/{policy_id}"

    def put(self, checkpoint: Path, progress: Progress) -> PolicyRef:
        """Store a checkpoint; the folder becomes a link to what this machine loads from now on.

        Args:
            checkpoint: a folder that save_pretrained wrote.
            progress: where the progress of an upload is shown.

        Raises:
            LakeError: it cannot be stored.
        """
        files = StoredFiles.of(checkpoint)
        policy_id = files.policy_id
        (checkpoint / FILES).write_text(files.model_dump_json(indent=1), encoding="utf-8")
        if not self.location.is_local and not self.holds(policy_id):
            self._upload(checkpoint, policy_id, files, progress)
        kept = self._on_this_machine(policy_id)
        if checkpoint.resolve() != kept.resolve():
            if not _is_whole(kept, policy_id):
                _remove(kept)
            _move(checkpoint.resolve(), kept)
            note_policy_id(kept, policy_id)
            if checkpoint.is_symlink():
                checkpoint.unlink()
            with suppress(OSError):  # a file system without links
                checkpoint.symlink_to(kept.resolve(), target_is_directory=True)
        if not self.location.is_local:
            _use(kept)
        return PolicyRef(policy_id, self.uri(policy_id))

    def holds(self, policy_id: str) -> bool:
        """Whether all files of a policy are there, in their sizes; they are not read.

        Raises:
            LakeError: the store does not answer.
        """
        files = self._files(policy_id)
        return files is not None and all(
            self.location.size(self._path(policy_id, file.path)) == file.size
            for file in files.files
        )

    def fetch(self, policy_id: str, progress: Progress | None = None) -> Path:
        """The policy's checkpoint as a folder of this machine, its weights checked.

        Args:
            policy_id: the policy.
            progress: where the progress of a download is shown.

        Raises:
            PolicyLost: it is not in the store, or other weights are.
            LakeError: the store does not answer.
        """
        folder = self._on_this_machine(policy_id)
        if self.location.is_local:
            if not self.holds(policy_id):
                raise policy_lost(policy_id, f"{folder} is missing, or a file in it is")
            if not _is_whole(folder, policy_id):
                raise policy_lost(policy_id, f"{folder} holds other weights")
            return folder
        with _locked(folder):
            if not _is_whole(folder, policy_id):
                _remove(folder)
                self._download(policy_id, folder, progress or SilentProgress())
            _use(folder)
        return folder

    def restore(self, policy_id: str, progress: Progress) -> bool:
        """Store again what an object store has lost and this machine's cache still has.

        Returns:
            Whether the store holds the policy now.
        """
        if self.holds(policy_id):
            return True
        folder = self._on_this_machine(policy_id)
        if self.location.is_local or not _is_whole(folder, policy_id):
            return False
        self.put(folder, progress)
        return True

    def discard(self, policy_id: str) -> None:
        """Remove what there is of a policy, from the store and from this machine's cache."""
        folder = self._on_this_machine(policy_id)
        if not self.location.is_local:
            files = self._files(policy_id)
            # First, so that it is not taken for complete any more.
            self.location.delete(self._path(policy_id, FILES))
            for file in () if files is None else files.files:
                self.location.delete(self._path(policy_id, file.path))
        _remove(folder)

    def _path(self, policy_id: str, file: str) -> str:
        return f"{POLICIES_FOLDER}/{policy_id}/{file}"

    def _on_this_machine(self, policy_id: str) -> Path:
        """The folder that this machine loads a policy from."""
        if self.location.is_local:
            return self.location.folder / POLICIES_FOLDER / policy_id
        return cache_folder() / "policies" / policy_id

    def _files(self, policy_id: str) -> StoredFiles | None:
        """What the store says that it holds of a policy."""
        try:
            text = b"".join(self.location.blocks(self._path(policy_id, FILES)))
            return StoredFiles.model_validate_json(text)
        except (FileNotFoundError, ValidationError):
            return None

    def _upload(
        self, checkpoint: Path, policy_id: str, files: StoredFiles, progress: Progress
    ) -> None:
        with _megabytes(progress, f"store policy {policy_id}", files) as advance:
            for file in files.files:
                path = self._path(policy_id, file.path)
                self.location.upload(checkpoint / file.path, path, advance)
        content = (checkpoint / FILES).read_bytes()
        self.location.write(self._path(policy_id, FILES), content)

    def _download(self, policy_id: str, folder: Path, progress: Progress) -> None:
        files = self._files(policy_id)
        if files is None:
            raise policy_lost(policy_id, f"{self.uri(policy_id)} is missing")
        if files.policy_id != policy_id:
            raise policy_lost(policy_id, f"{self.uri(policy_id)} holds other weights")
        with (
            atomic_folder(folder) as partial,
            _megabytes(progress, f"fetch policy {policy_id}", files) as advance,
        ):
            for file in files.files:
                self._download_file(policy_id, file, partial / file.path, advance)
            content = files.model_dump_json(indent=1)
            (partial / FILES).write_text(content, encoding="utf-8")
            partial.chmod(0o755)
        note_policy_id(folder, policy_id)

    def _download_file(
        self, policy_id: str, file: StoredFile, target: Path, advance: Callable[[int], None]
    ) -> None:
        path = self._path(policy_id, file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):  # in case it was damaged on its way
            digest = hashlib.sha256()
            try:
                with target.open("wb") as opened:
                    for block in self.location.blocks(path):
                        opened.write(block)
                        digest.update(block)
                        advance(len(block))
            except FileNotFoundError:
                raise policy_lost(policy_id, f"{self.location.uri}/{path} is missing") from None
            if digest.hexdigest() == file.sha256:
                return
        # Whoever looks next finds it incomplete, also a machine that has a copy of its own: that
        # stores it again.
        self.location.delete(self._path(policy_id, FILES))
        fault = f"{self.location.uri}/{path} is not the file that was stored"
        raise policy_lost(policy_id, fault)


def policy_lost(policy_id: str, fault: str) -> PolicyLost:
    """The error about a trained policy."""
    return PolicyLost(
        f"policy {policy_id}: {fault}; start the same command again: it is trained again"
    )


def _is_whole(folder: Path, policy_id: str) -> bool:
    """Whether a folder of this machine holds the policy's weights, and all other files."""
    try:
        files = StoredFiles.model_validate_json((folder / FILES).read_bytes()).files
        sizes = [(folder / file.path).stat().st_size for file in files]
        return sizes == [file.size for file in files] and policy_id_of(folder) == policy_id
    except (InputError, OSError, ValidationError):
        return False


def _use(folder: Path) -> None:
    """Mark a cached policy as the one used last, and drop those that were used longest ago."""
    with suppress(OSError):  # another process drops the same
        os.utime(folder)
        entries = [(entry, entry.stat()) for entry in folder.parent.iterdir() if entry.is_dir()]
        # What is being fetched, or was when its process was killed, has a suffix.
        partial = [entry for entry, stat in entries if entry.suffix and _is_old(stat)]
        cached = [(stat.st_mtime, entry) for entry, stat in entries if not entry.suffix]
        unused = [entry for _, entry in sorted(cached, reverse=True)[MAX_CACHED:]]
        for entry in (*partial, *unused):
            shutil.rmtree(entry, ignore_errors=True)


def _is_old(stat: os.stat_result) -> bool:
    return time.time() - stat.st_mtime > _DAY


def _remove(folder: Path) -> None:
    """Remove a folder, if it is there; nobody sees a part of it."""
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
        folder.rename(aside)
        shutil.rmtree(aside)


def _move(folder: Path, target: Path) -> None:
    """Move a folder, which appears whole; if `target` is there, it stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            folder.rename(target)
        except OSError:  # another file system
            with atomic_folder(target) as partial:
                shutil.copytree(folder, partial, dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process of this machine at a time, so that several do not fetch the same policy."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        with suppress(OSError):  # the mount has no locks: then each fetches it
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _megabytes(
    progress: Progress, what: str, files: StoredFiles
) -> Iterator[Callable[[int], None]]:
    """Show progress in megabytes; yields what is called with numbers of bytes."""
    done = shown = 0
    with progress.task(what, files.num_bytes // 10**6, "MB") as task:

        def advance(num_bytes: int) -> None:
            nonlocal done, shown
            done += num_bytes
            task.advance(done // 10**6 - shown)
            shown = done // 10**6

        yield advance
