"""A policy is named by a hash of its weights, wherever its checkpoint is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError
from pipelines.runtime.cache import cache_folder

_MAX_NOTES = 256
"""Number of checkpoints whose hash is noted: those hashed last."""


@dataclass(frozen=True)
class PolicyRef:
    """A policy: the hash of its weights, and where its checkpoint is."""

    policy_id: str
    checkpoint_uri: str
    """`embedded:NAME`, `hub:ORG/NAME@COMMIT`, a folder, or a URI in the lake's store of policies."""


def policy_id_of(checkpoint: Path) -> str:
    """Content hash of the checkpoint's weights.

    A folder whose weights' sizes and times are those of an earlier call is not read again.

    Raises:
        InputError: the folder holds no safetensors files.
    """
    files = weights_of(checkpoint)
    if not files:
        raise InputError(
            f"{checkpoint}: holds no *.safetensors weights; save the model with save_pretrained"
        )
    note = _note(files)
    try:
        return note.read_text(encoding="ascii")
    except OSError:
        policy_id = id_of_digests(sha256_of(file) for file in files)
        _write(note, policy_id)
        return policy_id


def note_policy_id(checkpoint: Path, policy_id: str) -> None:
    """Note the hash of weights that were hashed in another way, so that they are not read for it."""
    _write(_note(weights_of(checkpoint)), policy_id)


def weights_of(checkpoint: Path) -> list[Path]:
    """The files of a checkpoint's weights, in the order in which they are hashed."""
    return sorted(checkpoint.glob("*.safetensors"))


def id_of_digests(digests: Iterable[bytes]) -> str:
    """The policy's id, from the SHA-256 of each file of its weights, by name."""
    digest = hashlib.sha256()
    for one in digests:
        digest.update(one)
    return digest.hexdigest()[:16]


def sha256_of(file: Path) -> bytes:
    """The SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _note(files: list[Path]) -> Path:
    """The file in the cache that notes the hash of these files, as they are now.

    The time of the last change of a file's metadata is part of its name: programs can set the time of
    the last change of its content, as copying does, and not that.
    """
    states = [(str(file.resolve()), file.stat()) for file in files]
    state = [[path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for path, stat in states]
    name = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
    return cache_folder() / "policy_ids" / name


def _write(note: Path, policy_id: str) -> None:
    with suppress(OSError):  # a cache that cannot be written costs time only
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_suffix(f".{policy_id}")
        partial.write_text(policy_id, encoding="ascii")
        partial.replace(note)
        notes = sorted(note.parent.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in notes[_MAX_NOTES:]:
            old.unlink(missing_ok=True)
