"""What is set in an engine's process before vllm is imported.

What the process is started with is in pipelines/placement/engines.py: engine_environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.placement.engines import core_binding

_OPTIONAL = ("sklearn", "scipy")


def bind_cores(num_processes: int) -> None:
    """Bind a CPU engine to all cores that this process may use; vLLM would leave one out.

    Call this before vllm is imported.

    Args:
        num_processes: processes that compute for the engine.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = core_binding(cores, num_processes)
    os.environ["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"


@contextmanager
def without_optional_imports() -> Iterator[None]:
    """Hide scikit-learn and SciPy from imports inside the context.

    If they are installed, transformers imports both for functions that sampling never calls, which
    takes a fifth of the time of importing vllm.
    """
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
