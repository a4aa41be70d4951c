"""A sampler whose solutions come from a function: tests of the loop need no engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.sampling.sampler import DrawnSolution, Request, refuse_too_long
from schemas.samples import LENGTH, STOP


@dataclass(frozen=True)
class ScriptedSampler:
    """Draws `answer(request, index)`; a token is a word, and each has probability 1/2.

    A solution ends with the first stop string, or with the end of text if there is none.
    """

    answer: Callable[[Request, int], str]
    max_model_len: int = 1024
    dtype: str = "float32"

    def draw(self, requests: list[Request]) -> list[list[DrawnSolution]]:
        """See Sampler."""
        return [self._draw_one(request) for request in requests]

    def _draw_one(self, request: Request) -> list[DrawnSolution]:
        num_prompt_tokens = len(request.text.split())
        if num_prompt_tokens >= self.max_model_len:
            return refuse_too_long(request, num_prompt_tokens)
        return [
            self._solution(request, index, num_prompt_tokens)
            for index in range(request.num_samples)
        ]

    def _solution(self, request: Request, index: int, num_prompt_tokens: int) -> DrawnSolution:
        words = self.answer(request, index).split(" ")
        kept = words[: request.decoding.max_tokens]
        is_whole = len(kept) == len(words)
        return DrawnSolution(
            index=index,
            solution=" ".join(kept),
            finish_reason=STOP if is_whole else LENGTH,
            stop_string=next(iter(request.decoding.stop), None) if is_whole else None,
            num_tokens=len(kept),
            num_prompt_tokens=num_prompt_tokens,
            log_probability=-0.6931471805599453 * len(kept),
            seed=request.seed + index,
        )
