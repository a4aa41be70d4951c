"""Training rows as tokens: the prefix that all prompts share, and the rest of each row.

The policy is trained on the same tokens that it reads and writes when it is sampled:

- A prompt is tokenized as a whole, as the engine does it. The shared prefix is the longest common
  prefix of the *tokenized* prompts: tokenizing pieces of a text can give other tokens than
  tokenizing the text.
- A solution's tokens are what follows the prompt's own tokens in the tokenization of
  prompt + solution + end. If a token spans the border between prompt and solution (the policy could
  not have written it), the solution is tokenized by itself.
- The end is the first stop string if solutions are sampled with one, so that the policy learns to
  write it; otherwise it is the end-of-text token.
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


def pack(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[TrainingRow],
    stop: Sequence[str],
    max_model_len: int,
) -> PackedRows:
    """Tokenize a training set.

    Args:
        tokenizer: the policy's.
        rows: the training set.
        stop: the stop strings that solutions are sampled with.
        max_model_len: maximum number of tokens of prompt, solution and end together.

    Raises:
        InputError: a row is longer than that, or solutions have no end.
    """
    if not rows:
        return PackedRows((), ())
    prompts = tokenize(tokenizer, [row.prompt for row in rows])
    prefix = shared_prefix(prompts)
    packed = []
    end, end_tokens = _end(tokenizer, stop)
    wholes = tokenize(tokenizer, [f"{row.prompt}{row.solution}{end}" for row in rows])
    for number, (row, prompt, whole) in enumerate(zip(rows, prompts, wholes, strict=True), 1):
        labels = whole[len(prompt) :]
        if whole[: len(prompt)] != prompt or not labels:
            alone = tokenizer(f"{row.solution}{end}", add_special_tokens=False)
            labels = tuple(alone["input_ids"])
        labels += end_tokens
        length = len(prompt) + len(labels)
        if length > max_model_len:
            raise InputError(
                f"training_set row {number} has {length} tokens, model.max_model_len is "
                f"{max_model_len}; raise it, under another --name if stored solutions reached it "
                f"(the prompt ends in {row.prompt[-40:]!r})"
            )
        rest = prompt[len(prefix) :]
        packed.append(PackedRow(rest + labels, len(rest), row.weight))
    return PackedRows(prefix, tuple(packed))


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


def _end(tokenizer: PreTrainedTokenizerBase, stop: Sequence[str]) -> tuple[str, Tokens]:
    """The end of every solution: text tokenized with it, and tokens put after it."""
    if stop:
        return stop[0], ()
    if tokenizer.eos_token_id is None:
        raise InputError(
            "the model's tokenizer has no end-of-text token, so solutions cannot end; set sampling.stop"
        )
    return "", (int(tokenizer.eos_token_id),)
