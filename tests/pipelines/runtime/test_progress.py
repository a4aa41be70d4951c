"""The lines that LineProgress prints."""

from __future__ import annotations

import re

import pytest

from pipelines.runtime.progress import LineProgress, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, set through the list's only item."""
    now = [100.0]
    monkeypatch.setattr("pipelines.runtime.progress.time.monotonic", lambda: now[0])
    return now


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]


def test_no_time_left_is_shown_before_the_first_unit_is_done(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with LineProgress(every=15).task("improve", 82, "examples") as task:
        clock[0] += 30
        task.advance(0, "float32")
        assert printed(capsys) == [
            "improve: started, 82 examples",
            "improve: 0/82 examples, float32",
        ]


def test_the_rate_leaves_out_the_time_until_the_first_units(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with LineProgress(every=15).task("generate", 1_000, "samples") as task:
        clock[0] += 90  # the engine starts
        task.advance(100)
        clock[0] += 20
        task.advance(200)
    lines = printed(capsys)
    assert lines[1] == "generate: 100/1,000 samples"
    assert lines[2] == "generate: 300/1,000 samples, 10.0/s, 70 s left"
    assert lines[3] == "generate: 300 samples in 110 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "1 min 40 s"), (3_599.6, "1 h 0 min"), (7_500, "2 h 5 min")],
)
def test_durations_are_shown_in_readable_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_line_begins_with_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    LineProgress().say("hello")
    assert re.fullmatch(r"\d\d:\d\d:\d\d hello\n", capsys.readouterr().out)
