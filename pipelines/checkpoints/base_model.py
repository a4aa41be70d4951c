"""The configured base model as a checkpoint folder: the embedded model, a folder, or a hub id.

A run must not change its base model, wherever it goes on. A folder may be moved, so the run is pinned
to a hash of its weights; a branch of the hub may move, so the run is pinned to the branch's commit.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.checkpoints.embedded_model import embedded_checkpoint, embedded_folder
from pipelines.checkpoints.policy import policy_id_of
from pipelines.config import EMBEDDED_MODEL, ModelConfig, RunConfig
from pipelines.config.model import COMMIT, WEIGHTS
from pipelines.errors import InputError, first_line

HUB = "hub:"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def resolve_base_model(config: ModelConfig) -> Path:
    """The checkpoint folder of the base model, made or downloaded if needed.

    Raises:
        InputError: the model cannot be found, or the folder is not a checkpoint.
    """
    name = config.base_model
    if name.startswith("embedded:"):
        if name != EMBEDDED_MODEL:
            raise _another_embedded_model(name)
        return embedded_checkpoint()
    if names_a_folder(name):
        return _checked_folder(Path(name).expanduser().resolve())
    return from_hub(name, _revision(config), trust_remote_code=config.trust_remote_code)


def base_model_at_hand(config: ModelConfig) -> Path | None:
    """The checkpoint folder of the base model if it is on this machine; nothing is made or fetched.

    Raises:
        InputError: the model cannot be found, or the folder is not a checkpoint.
    """
    name = config.base_model
    if name.startswith("embedded:"):
        if name != EMBEDDED_MODEL:
            raise _another_embedded_model(name)
        return folder if (folder := embedded_folder()).is_dir() else None
    if names_a_folder(name):
        return _checked_folder(Path(name).expanduser().resolve())
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, revision=_revision(config), local_files_only=True)
        return _checked_folder(Path(found))
    except (OSError, ValueError, InputError):
        return None


def base_model_uri(config: ModelConfig, checkpoint: Path) -> str:
    """How the base model is named in `policies`, so that any machine finds the same one.

    Args:
        config: the model's settings.
        checkpoint: its folder on this machine, see `resolve_base_model`.
    """
    if config.base_model.startswith("embedded:"):
        return config.base_model
    if names_a_folder(config.base_model):
        return str(checkpoint)
    return f"{HUB}{config.base_model}@{checkpoint.name}"  # the hub's cache names it by its commit


def with_model_content(
    config: RunConfig, pinned: RunConfig | None, *, ask_hub: bool = False
) -> RunConfig:
    """The configuration with what its base model holds, to which the run is pinned.

    Args:
        config: the run's.
        pinned: the configuration that its name is pinned to, if it is. A folder that is not on this
            machine keeps the content it had, and a branch of the hub the commit it had.
        ask_hub: whether to ask the hub for the commit of a branch that the run is not pinned to.
    """
    model, before = config.model, None if pinned is None else pinned.model
    is_same = before is not None and before.base_model == model.base_model
    content = before.content if before is not None and is_same else None
    if is_same and content is None:
        return config  # It was pinned to its name.
    if model.base_model.startswith("embedded:"):
        return config
    if names_a_folder(model.base_model):
        content = _weights_in(Path(model.base_model).expanduser()) or content
    elif content is None and ask_hub:
        content = _commit_on_hub(model)
    return config.model_copy(update={"model": model.model_copy(update={"content": content})})


def names_a_folder(name: str) -> bool:
    """Whether a base model is named by a path."""
    return Path(name).expanduser().exists() or name.startswith((".", "/", "~"))


def _weights_in(folder: Path) -> str | None:
    try:
        return f"{WEIGHTS}{policy_id_of(folder)}"
    except (InputError, OSError):
        return None  # Resolving the model says what is wrong with it.


def _commit_on_hub(config: ModelConfig) -> str | None:
    """The commit that a branch of the hub is at; without a network, the one that is in the cache."""
    _without_long_waits()
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            config.base_model, revision=config.revision, allow_patterns=["config.json"]
        )
    except (OSError, ValueError):
        return None  # Resolving the model says what is wrong with it.
    return f"{COMMIT}{Path(folder).name}"


def _without_long_waits() -> None:
    """Keep the hub's client from retrying for minutes where there is no network."""
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _revision(config: ModelConfig) -> str | None:
    return config.revision if config.content is None else config.content.removeprefix(COMMIT)


def _another_embedded_model(name: str) -> InputError:
    return InputError(f"model.base_model: the embedded model is {EMBEDDED_MODEL!r}, got {name!r}")


def _checked_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(
            f"model.base_model: no folder {str(folder)!r}; name a checkpoint folder, a hub id or "
            f"{EMBEDDED_MODEL!r}"
        )
    if not (folder / "config.json").is_file():
        raise InputError(
            f"model.base_model: {str(folder)!r} has no config.json; it must be a checkpoint folder "
            "as save_pretrained writes it"
        )
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise InputError(
            f"model.base_model: {str(folder)!r} has no weights ({', '.join(_WEIGHTS)}); it must be "
            "a checkpoint folder as save_pretrained writes it"
        )
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InputError(
            f"model.base_model: {str(folder)!r} has no tokenizer ({', '.join(_TOKENIZERS)}); save it "
            "there with tokenizer.save_pretrained"
        )
    return folder


def from_hub(name: str, revision: str | None, *, trust_remote_code: bool) -> Path:
    """The folder of a model of the hub, downloaded if it is not in the hub's cache.

    Raises:
        InputError: it cannot be downloaded, or is not a checkpoint.
    """
    _without_long_waits()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=[*_FILES, *(("*.py",) if trust_remote_code else ())],
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = first_line(error)[:200].rstrip(".")
        raise InputError(
            f"model.base_model: cannot get {name!r} from the hub ({reason}); check its "
            "spelling, its licence and the network, or name a checkpoint folder or "
            f"{EMBEDDED_MODEL!r}"
        ) from None
    return _checked_folder(Path(folder))
