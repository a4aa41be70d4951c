"""A reward whose module ends a scoring worker that imports it; elsewhere it can be imported."""

import os
import sys

if sys.argv[0].endswith("rewards/workers/worker.py"):
    os._exit(7)


def reward(solution: str, reference: str) -> float:
    return 1.0
