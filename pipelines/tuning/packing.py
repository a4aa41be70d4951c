"""Training rows as tokens: the prefix that all prompts share, and the rest of each row.

The policy is trained on the same tokens that it reads and writes when it is sampled:

- A prompt is tokenized as a whole, as the engine does it. The shared prefix is the longest common
  prefix of the *tokenized* prompts: tokenizing pieces of a text can give other tokens than
  tokenizing the text.
- A solution's tokens are what follows the prompt's own tokens in the tokenization of
  prompt + solution + end. If a token spans the border between prompt and solution (the policy could
  not have written it), the solution is tokenized by itself.
- The end is the one that the solution was drawn with: its stop string, or the end-of-text token.
- A row that is longer than the model is left out and counted. Rows are selected by the number of
  tokens drawn; a text may take more than those, as a policy does not always write the tokens that
  its tokenizer would choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = tuple[int, ...]


class TrainingRow(NamedTuple):
    """One (x, y) of the training set."""

    prompt: str
    solution: str
    weight: float
    stop_string: str | None
    """The solution's end; None: the end-of-text token."""


@dataclass(frozen=True)
class PackedRow:
    """A training row: the tokens after the shared prefix."""

    tokens: Tokens
    num_prompt: int
    """Number of tokens that belong to the prompt, at least 1; the others are labels."""
    weight: float

    @property
    def num_labels(self) -> int:
        """Number of labelled tokens: the solution's and its end's."""
        return len(self.tokens) - self.num_prompt


@dataclass(frozen=True)
class PackedRows:
    """A tokenized training set."""

    prefix: Tokens
    rows: tuple[PackedRow, ...]
    num_too_long: int = 0
    """Number of rows left out."""


def pack(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[TrainingRow], max_model_len: int
) -> PackedRows:
    """Tokenize a training set.

    Args:
        tokenizer: the policy's.
        rows: the training set.
        max_model_len: maximum number of tokens of prompt, solution and end together.

    Raises:
        InputError: all rows are longer than that, or the tokenizer lacks the end of one.
    """
    if not rows:
        return PackedRows((), ())
    prompts = tokenize(tokenizer, [row.prompt for row in rows])
    prefix = shared_prefix(prompts)
    packed = []
    targets = [f"{row.solution}{row.stop_string or ''}" for row in rows]
    wholes = tokenize(
        tokenizer, [row.prompt + target for row, target in zip(rows, targets, strict=True)]
    )
    for row, target, prompt, whole in zip(rows, targets, prompts, wholes, strict=True):
        labels = whole[len(prompt) :]
        if whole[: len(prompt)] != prompt or not labels:
            labels = tuple(tokenizer(target, add_special_tokens=False)["input_ids"])
        if row.stop_string is None:
            labels += (_end_of_text(tokenizer),)
        if len(prompt) + len(labels) <= max_model_len:
            rest = prompt[len(prefix) :]
            packed.append(PackedRow(rest + labels, len(rest), row.weight))
    if not packed:
        raise InputError(
            f"training_set: none of the {len(rows)} rows has at most model.max_model_len = "
            f"{max_model_len} tokens with its prompt and its end; raise it"
        )
    return PackedRows(prefix, tuple(packed), len(rows) - len(packed))


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Tokens]:
    """The tokens of each text as the engine reads it, with the tokenizer's special tokens."""
    distinct = list(dict.fromkeys(texts))
    ids = tokenizer(distinct)["input_ids"]
    known = {text: tuple(tokens) for text, tokens in zip(distinct, ids, strict=True)}
    return [known[text] for text in texts]


def shared_prefix(prompts: Sequence[Tokens]) -> Tokens:
    """The longest common prefix that is shorter than every prompt.

    The first label is predicted at the prompt's last token, which therefore must be in the row, not
    in the prefix.
    """
    first, last = min(prompts), max(prompts)
    length = min(len(tokens) for tokens in prompts) - 1
    for index in range(length):
        if first[index] != last[index]:
            return first[:index]
    return first[: max(length, 0)]


def _end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise InputError(
            "training_set: a solution ended without a stop string, and the model's tokenizer has "
            "no end-of-text token; set sampling.stop"
        )
    return int(tokenizer.eos_token_id)
