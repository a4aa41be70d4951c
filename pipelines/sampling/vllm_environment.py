"""The environment of a vLLM process: settings made before it starts or before vllm is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARY_FOLDERS = (
    Path(sys.prefix) / "lib",
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/lib/x86_64-linux-gnu"),
    Path("/usr/lib64"),
    Path("/usr/lib"),
)
PRELOADED = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"), ("libiomp5.so",)
"""Libraries that together make a CPU engine some 20 % faster; of each group, the first one found is
preloaded."""

_OPTIONAL = ("sklearn", "scipy")


def process_environment(num_threads: int | None) -> dict[str, str]:
    """The environment variables that the engine's process must be started with.

    Args:
        num_threads: number of cores of a CPU engine; None for a GPU.
    """
    environment = {
        # One process per engine: a second interpreter would take a minute to start on two cores.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if num_threads is None:
        return environment
    environment["OMP_NUM_THREADS"] = str(num_threads)
    preloaded = [os.environ["LD_PRELOAD"]] if os.environ.get("LD_PRELOAD") else []
    preloaded += [library for library in preloads() if library not in preloaded]
    return environment | ({"LD_PRELOAD": ":".join(preloaded)} if preloaded else {})


def preloads(folders: tuple[Path, ...] = LIBRARY_FOLDERS) -> list[str]:
    """The libraries of PRELOADED that exist in these folders."""
    found = []
    for names in PRELOADED:
        candidates = (folder / name for name in names for folder in folders)
        library = next((path for path in candidates if path.exists()), None)
        found += [str(library)] if library else []
    return found


def bind_cores() -> None:
    """Bind a CPU engine to all cores that this process may use; vLLM would leave one out.

    Call this before vllm is imported.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(str(core) for core in cores)
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
