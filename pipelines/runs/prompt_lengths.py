"""Whether the prompts leave the policy room for its solutions, before any of them is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import PromptConfig, RunConfig
from pipelines.config.suites import suites_of
from pipelines.errors import InputError
from pipelines.placement.model_memory import RowLengths
from pipelines.stages.few_shot import Frame, exemplars_of, frame_of
from pipelines.tuning.token_counts import TokenCounts
from schemas.problems import TEST, TRAIN

if TYPE_CHECKING:
    import pyarrow as pa

MAX_WITHOUT_ROOM = 0.01
"""Maximum share of prompts without room for any solution; more refuse the run, fewer are a warning."""
MAX_CUT = 0.5
"""Maximum share of prompts without room for `max_tokens`; more refuse the run, fewer are a warning."""
_SLACK = 16
"""Tokens that a tokenizer may add where a question meets the text around it."""

_BATCH = 256
"""Questions that are tokenized together."""


@dataclass(frozen=True)
class _Question:
    text: str
    before: str
    """The text before it: its own exemplars, then the frame's."""
    where: str
    """Its source and row."""


@dataclass(frozen=True)
class _Asked:
    """Problems that are asked with one prompt."""

    what: str
    setting: str
    """The setting of `max_tokens`."""
    max_tokens: int
    frame: Frame
    questions: list[_Question]


def check_max_tokens(config: RunConfig) -> None:
    """Require that a solution of `max_tokens` could fit beside a prompt.

    Raises:
        InputError: it could not.
    """
    limit = config.model.max_model_len
    settings = {"sampling.max_tokens": config.sampling.max_tokens}
    settings |= {
        f"evaluation.suites ({suite.name}).max_tokens": suite.max_tokens
        for suite in suites_of(config)
    }
    for name, value in settings.items():
        if value >= limit:
            raise InputError(
                f"{name} must be less than model.max_model_len ({limit:,} tokens of prompt plus "
                f"solution), got {value:,}; lower it, or raise model.max_model_len"
            )


def check_prompt_lengths(
    config: RunConfig, rows: pa.Table, count: TokenCounts, warn: Callable[[str], None]
) -> int:
    """Tokenize the prompts of all problems; returns the number of tokens of the longest.

    Args:
        config: the run's.
        rows: the problems, see `read_sources`.
        count: the base model's tokens.
        warn: called with one line per prompt setting that leaves some prompts too little room.

    Raises:
        InputError: too many prompts have too little room; the message names one of them.
    """
    limit, longest = config.model.max_model_len, 0
    for asked in _asked(config, rows):
        lengths = _lengths(asked, count, limit)
        longest = max([longest, *lengths])
        for fault in _faults(asked, lengths, limit):
            if fault.share > fault.max_share:
                raise InputError(fault.message)
            warn(f"warning: {fault.message}")
    return longest


def training_row_lengths(config: RunConfig, rows: pa.Table, count: TokenCounts) -> RowLengths:
    """Bounds on the tokens of the training rows to come: prompts and solutions.

    Args:
        config: the run's.
        rows: the problems, see `read_sources`; those that may be in the training split count.
        count: the base model's tokens.
    """
    frame, limit = frame_of(config), config.model.max_model_len
    (around,) = count([frame.before + frame.after])
    problems = rows.select(["split", "question"]).to_pylist()
    distinct = {row["question"] for row in problems if row["split"] in (None, TRAIN)}
    questions, longest = sorted(distinct, key=_num_bytes, reverse=True), around
    # A token stands for a byte or more: a question that is shorter in bytes than the longest so far
    # is in tokens need not be tokenized.
    for start in range(0, len(questions), _BATCH):
        if around + _num_bytes(questions[start]) + _SLACK <= longest:
            break
        texts = [frame.around(question) for question in questions[start : start + _BATCH]]
        longest = max(longest, *count(texts))
    return RowLengths(min(around + 1, limit), min(longest + config.sampling.max_tokens, limit))


def _asked(config: RunConfig, rows: pa.Table) -> Iterator[_Asked]:
    suites = suites_of(config)
    problems = rows.select(["dataset", "split", "question", "metadata", "source_row"]).to_pylist()
    own = [row for row in problems if row["split"] not in [suite.name for suite in suites]]
    sampling = config.sampling
    yield _Asked(
        "the run's prompts",
        "sampling.max_tokens",
        sampling.max_tokens,
        frame_of(config),
        [_question(row, "") for row in own],
    )
    for suite in suites:
        splits: list[str | None] = [suite.split]
        if suite.split == TEST and config.problems.num_test:
            splits.append(None)
        asked = [row for row in problems if row["split"] in splits]
        exemplars = _exemplars(suite.prompt, asked)
        yield _Asked(
            f"the prompts of suite {suite.name}",
            f"evaluation.suites ({suite.name}).max_tokens",
            suite.max_tokens,
            frame_of(config, suite.prompt),
            [_question(row, exemplars.get(_file(row), "")) for row in asked],
        )


def _exemplars(prompt: PromptConfig, rows: list[dict[str, str]]) -> dict[str, str]:
    if prompt.exemplars_folder is None:
        return {}
    return exemplars_of(prompt, sorted({_file(row) for row in rows}))


def _num_bytes(text: str) -> int:
    return len(text.encode())


def _file(row: dict[str, str]) -> str:
    return str(json.loads(row["metadata"]).get("file") or "")


def _question(row: dict[str, str], before: str) -> _Question:
    return _Question(row["question"], before, f"row {row['source_row']} of {row['dataset']}")


def _lengths(asked: _Asked, count: TokenCounts, limit: int) -> list[int]:
    """Tokens of each prompt; an upper bound where that is enough to see that it has room.

    A token stands for a byte of the text or more, so most questions need not be tokenized.
    """
    befores = list(dict.fromkeys(question.before for question in asked.questions))
    frame = asked.frame
    counted = count([before + frame.before + frame.after for before in befores])
    around = dict(zip(befores, counted, strict=True))
    lengths = [around[q.before] + _num_bytes(q.text) + _SLACK for q in asked.questions]
    unsure = [n for n, length in enumerate(lengths) if length + asked.max_tokens > limit]
    texts = [asked.questions[n].before + frame.around(asked.questions[n].text) for n in unsure]
    for n, length in zip(unsure, count(texts), strict=True):
        lengths[n] = length
    return lengths


@dataclass(frozen=True)
class _Fault:
    share: float
    max_share: float
    message: str


def _faults(asked: _Asked, lengths: list[int], limit: int) -> Iterator[_Fault]:
    """Prompts without room for any solution, and those without room for `max_tokens`."""
    total = len(lengths)
    without_room = [n for n, length in enumerate(lengths) if length >= limit]
    if without_room:
        yield _Fault(
            len(without_room) / total,
            MAX_WITHOUT_ROOM,
            f"model.max_model_len: {len(without_room):,} of {total:,} of {asked.what} have "
            f"{limit:,} tokens or more, which leaves no room for a solution, such as "
            f"{_longest(asked, lengths, without_room)}; raise model.max_model_len, use fewer or "
            "shorter exemplars, or remove these rows",
        )
    cut = [n for n, length in enumerate(lengths) if limit - asked.max_tokens < length < limit]
    if cut:
        yield _Fault(
            len(cut) / total,
            MAX_CUT,
            f"model.max_model_len: {len(cut):,} of {total:,} of {asked.what} leave fewer than "
            f"{asked.setting} ({asked.max_tokens:,}) of {limit:,} tokens, such as "
            f"{_longest(asked, lengths, cut)}; raise model.max_model_len, or lower "
            f"{asked.setting}",
        )


def _longest(asked: _Asked, lengths: list[int], among: list[int]) -> str:
    n = max(among, key=lambda n: lengths[n])
    return f"{asked.questions[n].where} with {lengths[n]:,}"
