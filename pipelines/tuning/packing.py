"""Rows as tokens: the prefix that all prompts share, once, and what follows it in each row.

The policy is trained on the tokens it reads and writes when it is sampled:

- A prompt is tokenized as a whole, as the engine does it. The shared prefix is the longest common
  prefix of the *tokenized* prompts; pieces of text tokenized apart and glued together can differ.
- A solution's tokens are the rest of the tokenization of prompt + solution + end, where that begins
  with the prompt's own tokens; where a token would span the border (the policy could not have
  written it), the solution is tokenized by itself.
- The end is the first stop string if solutions are sampled with one, so that the policy learns to
  write it; else the end-of-text token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One (x, y): the tokens after the shared prefix."""

    tokens: Tokens
    num_prompt: int
    """How many of them belong to the prompt, at least 1; the others are labels."""
    weight: float

    @property
    def num_labels(self) -> int:
        """Labelled tokens: the solution's and its end."""
        return len(self.tokens) - self.num_prompt


@dataclass(frozen=True)
class PackedRows:
    """A training set, tokenized."""

    prefix: Tokens
    rows: tuple[Row, ...]


def pack(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[str, str, float]],
    stop: Sequence[str],
    max_model_len: int,
) -> PackedRows:
    """Tokenize a training set.

    Args:
        tokenizer: the policy's.
        rows: (prompt, solution, weight).
        stop: the stop strings that solutions are sampled with.
        max_model_len: longest prompt plus solution plus end, in tokens.

    Raises:
        InputError: a row is longer than that, or solutions have no end.
    """
    if not rows:
        return PackedRows((), ())
    prompts = tokenize(tokenizer, [prompt for prompt, _, _ in rows])
    prefix = shared_prefix(prompts)
    packed = []
    end = _end(tokenizer, stop)
    wholes = tokenize(tokenizer, [f"{prompt}{solution}{end.text}" for prompt, solution, _ in rows])
    pieces = _Pieces(tokenizer)
    for number, (row, prompt, whole) in enumerate(zip(rows, prompts, wholes, strict=True), 1):
        labels = whole[len(prompt) :]
        if whole[: len(prompt)] != prompt or not labels:
            labels = pieces.tokenize(f"{row[1]}{end.text}")
        labels += end.tokens
        length = len(prompt) + len(labels)
        if length > max_model_len:
            raise InputError(
                f"training_set row {number} has {length} tokens, model.max_model_len is "
                f"{max_model_len}; raise it (the prompt ends in {row[0][-40:]!r})"
            )
        rest = prompt[len(prefix) :]
        packed.append(Row(rest + labels, len(rest), row[2]))
    return PackedRows(prefix, tuple(packed))


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Tokens]:
    """Texts as the engine reads them, special tokens as the tokenizer adds them."""
    distinct = list(dict.fromkeys(texts))
    ids = tokenizer(distinct)["input_ids"]
    known = {text: tuple(tokens) for text, tokens in zip(distinct, ids, strict=True)}
    return [known[text] for text in texts]


def shared_prefix(prompts: Sequence[Tokens]) -> Tokens:
    """The longest common prefix that leaves every prompt a token of its own.

    The first label is predicted at the prompt's last token, which therefore is a row's, not the
    prefix's.
    """
    first, last = min(prompts), max(prompts)
    length = min(len(tokens) for tokens in prompts) - 1
    for index in range(length):
        if first[index] != last[index]:
            return first[:index]
    return first[: max(length, 0)]


@dataclass(frozen=True)
class _End:
    """What ends a solution: text tokenized with it, or tokens put after it."""

    text: str
    tokens: Tokens


def _end(tokenizer: PreTrainedTokenizerBase, stop: Sequence[str]) -> _End:
    if stop:
        return _End(stop[0], ())
    if tokenizer.eos_token_id is None:
        raise InputError(
            "the model's tokenizer has no end-of-text token, so solutions cannot end; set sampling.stop"
        )
    return _End("", (int(tokenizer.eos_token_id),))


@dataclass(frozen=True)
class _Pieces:
    tokenizer: PreTrainedTokenizerBase

    def tokenize(self, text: str) -> Tokens:
        encode: Callable[..., dict[str, list[int]]] = self.tokenizer
        return tuple(encode(text, add_special_tokens=False)["input_ids"])
