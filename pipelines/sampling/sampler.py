"""Requests to a policy and the solutions drawn from it, independent of the engine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from schemas.samples import ENGINE_KILLED, PROMPT_TOO_LONG

_CONTROL_TOKENS = 16


@dataclass(frozen=True)
class DecodingSettings:
    """How one solution is drawn, without its seed."""

    temperature: float
    """0 is greedy."""
    top_k: int
    """Number of tokens considered at a step; 0 is all."""
    top_p: float
    max_tokens: int
    stop: tuple[str, ...]
    """Strings that end a solution; they are not part of it."""
    max_model_len: int
    """Maximum number of tokens of prompt plus solution."""


@dataclass(frozen=True)
class Request:
    """One prompt and the solutions wanted for it."""

    prompt_id: str
    text: str
    num_samples: int
    decoding: DecodingSettings
    seed: int
    """Seed of the first solution; the j-th has seed + j."""


@dataclass(frozen=True)
class DrawnSolution:
    """One solution that a sampler drew."""

    index: int
    """From 0 to num_samples - 1."""
    solution: str
    finish_reason: str
    """One of the constants of schemas.samples."""
    stop_string: str | None
    """The stop string that ended it; None if the end-of-text token did, or if it has no end."""
    num_tokens: int
    num_prompt_tokens: int
    log_probability: float | None
    """Sum over the solution's tokens of log p(token | prompt, tokens before) under the policy
    itself: at temperature 1, without top_k and top_p. None if nothing was drawn."""
    seed: int


class Sampler(Protocol):
    """Draws solutions from one policy. `draw` may be called from several threads at once."""

    @property
    def dtype(self) -> str:
        """The number format that the policy is computed in, such as bfloat16."""

    def draw(self, requests: list[Request]) -> list[list[DrawnSolution]]:
        """The solutions of each request, in order.

        Raises:
            Exception: the engine failed; the sampler must not be used again.
        """


def sample_id(policy_id: str, text: str, decoding: DecodingSettings, seed: int, index: int) -> str:
    """Id of a sample: a hash of policy, prompt, decoding, seed and index."""
    key = json.dumps([policy_id, text, asdict(decoding), seed, index], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def refuse_too_long(request: Request, num_prompt_tokens: int) -> list[DrawnSolution]:
    """The empty solutions of a prompt that leaves the policy no room for a solution."""
    return _without_solution(request, PROMPT_TOO_LONG, num_prompt_tokens)


def give_up(request: Request) -> list[DrawnSolution]:
    """The empty solutions of a prompt that kills the engine, whose number of tokens is not known."""
    return _without_solution(request, ENGINE_KILLED, num_prompt_tokens=0)


def _without_solution(
    request: Request, finish_reason: str, num_prompt_tokens: int
) -> list[DrawnSolution]:
    return [
        DrawnSolution(
            index=index,
            solution="",
            finish_reason=finish_reason,
            stop_string=None,
            num_tokens=0,
            num_prompt_tokens=num_prompt_tokens,
            log_probability=None,
            seed=request.seed + index,
        )
        for index in range(request.num_samples)
    ]


def control_of(request: Request) -> Request:
    """A request for a few tokens of a prompt that was drawn before: whether an engine works."""
    max_tokens = min(request.decoding.max_tokens, _CONTROL_TOKENS)
    decoding = replace(request.decoding, max_tokens=max_tokens)
    return replace(request, num_samples=1, decoding=decoding)
