"""What vLLM says of a solution's end, as columns of `samples`."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.sampling.sampler import DecodingSettings, Request
from pipelines.sampling.vllm_sampler import _drawn_solutions

REQUEST = Request(
    "p", "text", 1, DecodingSettings(0.7, 40, 1.0, 8, ("\n", "Question"), 64), seed=10
)


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason", "stored"),
    [
        ("stop", "Question", ("stop", "Question")),
        ("stop", None, ("stop", None)),
        ("stop", 128009, ("stop", None)),
        ("length", None, ("length", None)),
        ("repetition", "repetition_detected", ("error", None)),
    ],
)
def test_the_end_of_a_solution_is_kept(
    finish_reason: str, stop_reason: str | int | None, stored: tuple[str, str | None]
) -> None:
    drawn: Any = SimpleNamespace(
        index=0,
        text="4",
        finish_reason=finish_reason,
        stop_reason=stop_reason,
        token_ids=[4, 5],
        cumulative_logprob=-1.0,
    )
    output: Any = SimpleNamespace(prompt_token_ids=[1, 2, 3], outputs=[drawn])
    (solution,) = _drawn_solutions(REQUEST, output)
    assert (solution.finish_reason, solution.stop_string) == stored
    assert solution.num_tokens == 2
