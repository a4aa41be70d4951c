"""One process of the scoring pool: judges what it is sent until its parent hangs up.

It imports the reward and nothing else of restem. Standard output is closed to the reward, which may
print; verdicts go over a socket of their own. Messages are JSON, so that nothing that a reward
hands back is ever run by the parent.

    parent: settings            worker: {"ready": true} or {"failed": why}
    parent: [[text, reference], ...]   worker: a verdict for each, as soon as it is known
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from pipelines.errors import RestEMError
from pipelines.rewards.math_answer import MathAnswer
from pipelines.rewards.resolve import resolve_function
from pipelines.rewards.unit_tests import UnitTests
from pipelines.rewards.verdict import Verdict
from schemas.rewards import ERROR, MEMORY

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the parent at the other end of the socket whose number is the first argument."""
    channel = Connection(int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    settings = json.loads(channel.recv_bytes())
    try:
        judge = _load(settings)
    except RestEMError as error:
        _send(channel, {"failed": str(error)})
        return
    _limit_memory(settings["memory_limit_mb"])
    _send(channel, {"ready": True})
    _serve(channel, judge)


def _load(settings: dict[str, Any]) -> Callable[[str, str], Verdict]:
    reward = resolve_function(settings["function"], settings["options"])
    if isinstance(reward, MathAnswer):
        reward.warm_up()
        return reward.examine
    if isinstance(reward, UnitTests):
        reward.warm_up()
    return reward


def _serve(channel: Connection, judge: Callable[[str, str], Verdict]) -> None:
    while True:
        try:
            batch = json.loads(channel.recv_bytes())
        except EOFError:
            return
        for text, reference in batch:
            start = time.perf_counter()
            verdict = _judge(judge, text, reference)
            milliseconds = (time.perf_counter() - start) * 1000
            _send(
                channel,
                [
                    verdict.reward,
                    verdict.verdict,
                    verdict.extracted,
                    verdict.detail,
                    milliseconds,
                ],
            )


def _judge(judge: Callable[[str, str], Verdict], text: str, reference: str) -> Verdict:
    try:
        return judge(text, reference)
    except MemoryError:
        return Verdict(0.0, MEMORY, detail="went over the memory limit")
    except BaseException as error:  # noqa: BLE001 - SystemExit too: the worker outlives the row
        return Verdict(0.0, ERROR, detail=f"raised {type(error).__name__}: {error}"[:200])


def _send(channel: Connection, message: object) -> None:
    channel.send_bytes(json.dumps(message).encode())


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)


def _limit_memory(megabytes: int) -> None:
    limit = megabytes * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main()
