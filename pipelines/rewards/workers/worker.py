"""One process of the scoring pool: scores the pairs it is sent until its parent closes the socket.

It imports the reward and little else of restem. Its standard output is discarded, because a reward
may print; verdicts go over the socket. Messages are JSON, so that the parent runs nothing that a
reward returns.

    parent: [function, options, memory_limit_mb]   worker: {"ready": true} or {"failed": why}
    parent: [[text, reference], ...]               worker: one verdict per pair, each when known
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

from pipelines.errors import RestEMError
from pipelines.rewards.math_answer import MathAnswer
from pipelines.rewards.math_verify_library import MathVerify
from pipelines.rewards.resolve import resolve_function
from pipelines.rewards.unit_tests import UnitTests
from pipelines.rewards.verdict import RewardFunction, Verdict
from pipelines.runtime.parent_death import end_with_parent
from schemas.rewards import ERROR, MEMORY


def main() -> None:
    """Serve the parent at the other end of the socket whose number is the first argument."""
    end_with_parent()
    channel = Connection(int(sys.argv[1]))
    function, options, memory_limit_mb = json.loads(channel.recv_bytes())
    try:
        reward = _load(function, options)
    except RestEMError as error:
        _send(channel, {"failed": str(error)})
        return
    _limit_memory(memory_limit_mb)
    _send(channel, {"ready": True})
    while True:
        try:
            pairs = json.loads(channel.recv_bytes())
        except EOFError:
            return
        for text, reference in pairs:
            start = time.perf_counter()
            given = _score(reward, text, reference)
            milliseconds = (time.perf_counter() - start) * 1000
            fields = [given.reward, given.verdict, given.extracted, given.detail]
            _send(channel, [*fields, milliseconds])


def _load(function: str, options: Mapping[str, object]) -> RewardFunction:
    reward = resolve_function(function, options)
    if isinstance(reward, MathAnswer):
        reward.warm_up()
        return reward.score_symbolically
    if isinstance(reward, UnitTests | MathVerify):
        reward.warm_up()
    return reward


def _score(reward: RewardFunction, text: str, reference: str) -> Verdict:
    try:
        return reward(text, reference)
    except MemoryError:
        return Verdict(0.0, MEMORY, detail="went over the memory limit")
    except BaseException as error:  # noqa: BLE001 - SystemExit too: the next pair is still scored
        return Verdict(0.0, ERROR, detail=f"raised {type(error).__name__}: {error}"[:200])


def _send(channel: Connection, message: object) -> None:
    channel.send_bytes(json.dumps(message).encode())


def _limit_memory(megabytes: int) -> None:
    limit = megabytes * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main()
