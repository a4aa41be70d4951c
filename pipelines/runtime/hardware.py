"""The machine's processor, cores and memory, and the number format that is fastest on the processor.

A processor without bfloat16 instructions multiplies bfloat16 matrices five to ten times slower than
float32 ones; a processor that has them, two to three times faster.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")

AUTO = "auto"
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
FLAGS_OF_INTEREST = BFLOAT16_FLAGS | {"avx2", "avx512f", "amx_tile"}


@dataclass(frozen=True)
class Processor:
    """The processor as the kernel describes it."""

    name: str
    cores: int
    """Cores this process may use."""
    flags: frozenset[str]
    """The processor's flags, limited to FLAGS_OF_INTEREST."""

    @property
    def computes_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 matrices natively."""
        return bool(self.flags & BFLOAT16_FLAGS)

    @property
    def native_format(self) -> str:
        """The number format in which it multiplies matrices fastest."""
        return "bfloat16" if self.computes_bfloat16 else "float32"


def processor(cpuinfo: Path = CPUINFO) -> Processor:
    """This machine's processor; named "unknown processor" if `cpuinfo` does not name it."""
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = frozenset(fields.get("flags", "").split()) & FLAGS_OF_INTEREST
    return Processor(fields.get("model name", "unknown processor"), usable_cores(), flags)


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Number of cores this process may use, by its affinity and its container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def memory_gib(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> float:
    """Total memory this process may use, GiB; 0 if unknown."""
    total = _meminfo_bytes(meminfo, "MemTotal")
    limit = _read(cgroup / "memory.max").strip()
    if limit.isdigit():
        total = min(total or int(limit), int(limit))
    return total / 2**30


def available_memory_gib(meminfo: Path = MEMINFO) -> float:
    """Memory that is free or can be freed, GiB; 0 if unknown."""
    return _meminfo_bytes(meminfo, "MemAvailable") / 2**30


def _meminfo_bytes(meminfo: Path, field: str) -> int:
    for line in _read(meminfo).splitlines():
        key, _, value = line.partition(":")
        if key == field:
            return int(value.split()[0]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
