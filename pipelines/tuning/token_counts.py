"""Number of tokens of a text, by a checkpoint's tokenizer; without loading torch if it can be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.errors import InputError, first_line

TokenCounts = Callable[[list[str]], list[int]]
"""Texts -> the number of tokens of each, with those that the tokenizer adds by itself."""


def token_counts_of(checkpoint: Path) -> TokenCounts:
    """The counter of a checkpoint's tokens.

    Raises:
        InputError: its tokenizer cannot be loaded.
    """
    fast = checkpoint / "tokenizer.json"
    try:
        if fast.is_file():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(fast))
            tokenizer.no_truncation()
            tokenizer.no_padding()
            return lambda texts: [len(found.ids) for found in tokenizer.encode_batch(texts)]
        from transformers import AutoTokenizer

        slow = AutoTokenizer.from_pretrained(checkpoint)
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare exceptions
        raise InputError(
            f"model.base_model: {str(checkpoint)!r} has no tokenizer that can be loaded "
            f"({first_line(error)[:200]}); save it there with tokenizer.save_pretrained"
        ) from None
    return lambda texts: [len(ids) for ids in slow(texts)["input_ids"]]
