"""What the NVIDIA driver says of this machine's first GPU."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from benchmarks.watch import Watch

_MARKS = (pytest.mark.slow, pytest.mark.gpu, pytest.mark.usefixtures("gpu"))

Test = TypeVar("Test", bound=Callable[..., None])


def needs_gpu(test: Test) -> Test:
    """Mark a test that only a GPU can pass; it is skipped elsewhere."""
    for mark in _MARKS:
        test = mark(test)
    return test


def why_no_gpu() -> str | None:
    """Why the GPU tests cannot run here; None if they can."""
    tool = shutil.which("nvidia-smi")  # asked first: importing torch takes seconds
    if tool is None:
        return "no NVIDIA GPU on this machine: nvidia-smi is not found"
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=False)
    if listed.returncode != 0 or "GPU 0" not in listed.stdout:
        return f"no NVIDIA GPU on this machine: nvidia-smi -L says {listed.stdout.strip()!r}"
    if not torch_sees_a_gpu():
        return "torch cannot use the NVIDIA GPU: a build for CPUs, or a driver that is too old"
    return None


def torch_sees_a_gpu() -> bool:
    """Whether torch is built for CUDA and can use a GPU; makes no CUDA context."""
    import torch

    return torch.cuda.is_available()


def memory_mib() -> tuple[int, int]:
    """Used and total memory of the first GPU, MiB, of all processes; makes no CUDA context."""
    tool = shutil.which("nvidia-smi")
    assert tool is not None, "nvidia-smi is not on the PATH; it comes with the driver"
    query = [
        tool,
        "--id=0",
        "--query-gpu=memory.used,memory.total",
        "--format=csv,noheader,nounits",
    ]
    done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    used, total = done.stdout.split(",")
    return int(used), int(total)


def wait_until_freed(before: int, seconds: float = 30, slack: int = 300) -> int:
    """The first GPU's used memory, MiB, once it is at most `slack` above `before`, or at the end."""
    deadline = time.monotonic() + seconds
    used, _ = memory_mib()
    while used > before + slack and time.monotonic() < deadline:
        time.sleep(0.5)
        used, _ = memory_mib()
    return used


class MemoryWatch(Watch):
    """Records the peak of the first GPU's used memory, MiB, while its context is open.

    Args:
        label: names what goes on; the peak is kept for each name.
    """

    def __init__(self, label: Callable[[], str]) -> None:
        super().__init__(self._measure, every=0.2)
        self.peak: dict[str, int] = {}
        self._label = label

    def _measure(self) -> None:
        label = self._label()
        used, _ = memory_mib()
        if self._label() == label:  # It did not change in the meantime.
            self.peak[label] = max(used, self.peak.get(label, 0))
