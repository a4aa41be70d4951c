"""A reward whose module can be imported anywhere but in a scoring worker, which it ends."""

import os
import sys

if sys.argv[0].endswith("rewards/worker.py"):
    os._exit(7)


def reward(solution: str, reference: str) -> float:
    return 1.0
