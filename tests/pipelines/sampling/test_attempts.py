"""Which prompt engines die of, found from their deaths alone: engines here are a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from pipelines.sampling.attempts import MAX_KILLING_PROMPTS, Attempts, Part, Prompts
from pipelines.sampling.sampler import DecodingSettings, Request

CONTROL = Request("control", "1 + 1", 1, DecodingSettings(0.7, 40, 1.0, 8, (), 64), seed=1)
DecidesDeath = Callable[[set[str]], bool]
"""Whether an engine that draws these prompts at once dies."""


@dataclass
class Outcome:
    drawn: list[str] = field(default_factory=list)
    killing: list[str] = field(default_factory=list)
    num_deaths: int = 0
    fault: str | None = None


def outcome(
    chunks: Iterable[str],
    dies: DecidesDeath,
    max_restarts: int = 2,
    control: Request | None = None,
    at_once: int = 2,
) -> Outcome:
    """What becomes of chunks, each a word whose letters are prompts, on one engine."""
    attempts, found = Attempts(max_restarts, control), Outcome()
    waiting: list[Prompts] = [tuple(chunk) for chunk in chunks]
    while waiting:
        told = attempts.start("engine")
        if told.fault is not None:
            found.fault = told.fault
            break
        if told.control is not None:
            if dies({told.control.prompt_id}):
                found.num_deaths += 1
                continue
            attempts.works("engine")
        while waiting and draws(attempts, waiting, dies, at_once, found):
            pass
    return found


def draws(
    attempts: Attempts, waiting: list[Prompts], dies: DecidesDeath, at_once: int, found: Outcome
) -> bool:
    """Draw the next parts, in place; whether the engine survived."""
    turn = [(chunk, part) for chunk in waiting[:at_once] if (part := attempts.next(chunk))]
    suspects = [(chunk, part) for chunk, part in turn if part.is_suspect]
    turn = suspects[:1] or turn
    for chunk, part in turn:
        attempts.began("engine", chunk, part)
    asked = {prompt for _, part in turn for prompt in part.prompts if not part.kills}
    if asked and dies(asked):
        found.num_deaths += 1
        return False
    for chunk, part in turn:
        result: Any = part.prompts
        first = Request(part.prompts[0], "", 1, CONTROL.decoding, 0)
        attempts.drawn("engine", chunk, part, result, None if part.kills else first)
        (found.killing if part.kills else found.drawn).extend(part.prompts)
        if attempts.next(chunk) is None:
            assert sorted(p for done in attempts.done(chunk) for p in as_prompts(done)) == sorted(
                chunk
            )
            waiting.remove(chunk)
    return True


def as_prompts(done: Any) -> Prompts:
    return tuple(done)


def of(*killers: str) -> DecidesDeath:
    return lambda asked: bool(asked & set(killers))


def at_moment(moment: int) -> DecidesDeath:
    """A death from outside, whatever is drawn."""
    calls = count()
    return lambda _: next(calls) == moment


def test_without_deaths_every_chunk_is_drawn_whole() -> None:
    found = outcome(["abcd", "efgh", "ij"], of())
    assert (found.drawn, found.killing) == (list("abcdefghij"), [])


@pytest.mark.parametrize("killer", "abcdefghijkl")
@pytest.mark.parametrize("control", [None, CONTROL], ids=["nothing drawn yet", "drawn before"])
def test_a_prompt_that_kills_the_engine_is_found_and_all_others_are_drawn(
    killer: str, control: Request | None
) -> None:
    found = outcome(["abcd", "efgh", "ijkl"], of(killer), control=control)
    assert found.fault is None
    assert found.killing == [killer]
    assert sorted(found.drawn) == sorted(set("abcdefghijkl") - {killer})


@pytest.mark.parametrize("max_restarts", [1, 2, 3])
def test_a_prompt_is_given_up_after_max_restarts_deaths_alone(max_restarts: int) -> None:
    found = outcome(["a"], of("a"), max_restarts, CONTROL)
    # The first death is held against nobody: it may come from outside.
    assert (found.killing, found.num_deaths) == (["a"], 1 + max_restarts)


def test_two_prompts_that_kill_are_both_found_in_a_stage_of_one_chunk() -> None:
    found = outcome(["abcdefgh"], of("a", "f"))
    assert (sorted(found.killing), sorted(found.drawn)) == (["a", "f"], list("bcdegh"))


def test_a_death_from_outside_costs_no_sample_and_is_held_against_no_prompt() -> None:
    for moment in range(2):
        found = outcome(["abcd", "efgh", "ijkl"], at_moment(moment))
        assert (found.killing, found.num_deaths, found.fault) == ([], 1, None), moment
        assert sorted(found.drawn) == list("abcdefghijkl")


def test_an_engine_that_draws_nothing_is_at_fault() -> None:
    for max_restarts in (0, 1, 2):
        found = outcome(["abcd", "efgh"], lambda _: True, max_restarts)
        assert found.fault is not None
        assert "in a row, and drew nothing in between" in found.fault
        assert (found.num_deaths, found.killing) == (max_restarts + 1, [])


def test_an_engine_that_stops_working_is_at_fault_whatever_it_drew_before() -> None:
    calls = iter(range(99))
    found = outcome(["abcd", "efgh", "ijkl"], lambda _: next(calls) >= 1)
    assert found.fault is not None
    assert "in a row" in found.fault
    assert (sorted(found.drawn), found.killing) == (list("abcdefgh"), [])


def test_without_evidence_that_the_engine_works_no_prompt_is_given_up() -> None:
    found = outcome(["a"], of("a"))
    assert (found.killing, found.drawn) == ([], [])
    assert found.fault is not None


def test_an_engine_that_dies_of_many_prompts_at_once_is_at_fault() -> None:
    """Out of memory, say: no prompt kills it alone."""
    chunks = ["abcd", "efgh", "ijkl", "mnop"]
    found = outcome(chunks, lambda asked: len(asked) > 2, at_once=1)
    assert found.killing == []
    assert found.fault is not None
    assert "no prompt is the cause" in found.fault


def test_too_many_prompts_that_kill_put_the_engine_at_fault() -> None:
    chunks = ["abcdef", "ghijkl", "mnopqr"]
    found = outcome(chunks, lambda asked: asked != {"control"}, 2, CONTROL)
    assert found.fault == f"more than {MAX_KILLING_PROMPTS} prompts kill the engine, such as a"
    assert len(found.killing) <= MAX_KILLING_PROMPTS
    assert found.drawn == []


def test_deaths_of_one_engine_are_not_held_against_another() -> None:
    attempts = Attempts(max_restarts=1)
    assert attempts.start("one").fault is attempts.start("two").fault is None
    assert attempts.start("one").fault is None
    assert attempts.start("two").fault is None
    assert attempts.start("one").fault is not None


def test_what_was_drawn_before_a_death_is_not_drawn_again() -> None:
    attempts, chunk, first = Attempts(2), tuple("abcd"), Request("a", "", 1, CONTROL.decoding, 0)
    result: Any = "file"
    attempts.start("engine")
    part = attempts.next(chunk)
    assert part == Part(chunk)
    attempts.began("engine", chunk, part)
    attempts.drawn("engine", chunk, part, result, first)
    attempts.start("engine")  # died before it could hand the result on
    assert attempts.next(chunk) is None
    assert attempts.done(chunk) == [result]
