"""The machine's NVIDIA GPUs as nvidia-smi prints them, without a CUDA context.

torch.cuda would make a context in the process that asks, which takes half a GiB of the GPU for as
long as that process lives. The driver lives as long as the run, so it must not ask torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipelines.errors import MachineError
from pipelines.runtime.hardware import AUTO, processor

GPU_FIELDS = "index,uuid,name,memory.total,memory.free,compute_cap,driver_version"
PROCESS_FIELDS = "gpu_uuid,pid,process_name,used_memory"
VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which bfloat16 matrix products are native (Ampere)."""
SECONDS_TO_ANSWER = 30
POLL_SECONDS = 0.5
RELEASE_SECONDS = 120.0
"""Time for the processes of the stage before to end; an engine of several GPUs takes some seconds."""

_FIRST_MIG_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    index: int
    """Its number in nvidia-smi, which is its place on the PCI bus."""
    uuid: str
    name: str
    total_mib: int | None
    """None if nvidia-smi does not say, as for a slice of a GPU or memory shared with the processor."""
    free_mib: int | None
    compute_capability: tuple[int, int]

    def free_share(self) -> float | None:
        """Share of the memory that is free; None if unknown."""
        if not self.total_mib or self.free_mib is None:
            return None
        return self.free_mib / self.total_mib

    def has_free(self, share: float) -> bool:
        """Whether a share of the memory is free, as far as that is known."""
        free = self.free_share()
        return free is None or free >= share


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU."""

    pid: int
    name: str
    gpu_uuid: str
    used_mib: int | None
    """None if nvidia-smi does not say, as in some containers."""

    def __str__(self) -> str:
        size = f", {self.used_mib / 1024:.1f} GiB" if self.used_mib is not None else ""
        return f"{self.name.rpartition('/')[2]} (process {self.pid}{size})"


@dataclass(frozen=True)
class NvidiaReport:
    """What nvidia-smi said of a machine."""

    driver: str = ""
    """Version, such as 580.65.06; empty without a GPU."""
    gpus: tuple[Gpu, ...] = ()
    """Those that the asking process may use."""
    processes: tuple[GpuProcess, ...] = ()
    problem: str = ""
    """Why there are no GPUs; empty if there are."""

    def holders(self, gpu: Gpu) -> list[GpuProcess]:
        """The processes that compute on a GPU."""
        return [process for process in self.processes if process.gpu_uuid == gpu.uuid]


Read = Callable[[], NvidiaReport]


def nvidia_report() -> NvidiaReport:
    """The GPUs that this process may use, and the processes on them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return NvidiaReport(problem="nvidia-smi is not found")
    try:
        text = _ask(tool, f"--query-gpu={GPU_FIELDS}")
        gpus, driver = parse_gpus(text)
        processes = parse_processes(_ask(tool, f"--query-compute-apps={PROCESS_FIELDS}"))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stdout", None) or getattr(error, "stderr", None) or error
        return NvidiaReport(problem=f"nvidia-smi fails ({' '.join(str(said).split())[:200]})")
    mine = visible_gpus(gpus, os.environ.get(VISIBLE_DEVICES))
    if gpus and not mine:
        hidden = f"{VISIBLE_DEVICES}={os.environ.get(VISIBLE_DEVICES)!r} hides its {len(gpus)} GPUs"
        return NvidiaReport(driver, problem=hidden)
    return NvidiaReport(driver, mine, processes, "" if gpus else "nvidia-smi lists none")


def parse_gpus(text: str) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs in the answer to GPU_FIELDS (csv, no header, no units), and the driver's version.

    Raises:
        ValueError: the text is something else.
    """
    gpus, driver = [], ""
    for line in text.strip().splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(GPU_FIELDS.split(",")):
            raise ValueError(line)
        index, uuid, name, total, free, capability, driver = fields
        major, _, minor = capability.partition(".")
        gpus.append(Gpu(int(index), uuid, name, _mib(total), _mib(free), (int(major), int(minor))))
    return tuple(gpus), driver


def parse_processes(text: str) -> tuple[GpuProcess, ...]:
    """The processes in the answer to PROCESS_FIELDS (csv, no header, no units)."""
    processes = []
    for line in text.strip().splitlines():
        uuid, pid, rest = (field.strip() for field in line.split(",", 2))
        name, _, used = rest.rpartition(",")
        processes.append(GpuProcess(int(pid), name.strip(), uuid, _mib(used.strip())))
    return tuple(processes)


def visible_gpus(gpus: Sequence[Gpu], visible: str | None) -> tuple[Gpu, ...]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES leaves, in its order; all if None.

    Numbers are read as nvidia-smi's, which is why restem sets CUDA_DEVICE_ORDER=PCI_BUS_ID wherever
    it starts a process on a GPU. As in CUDA, what follows an unknown device is not visible.
    """
    if visible is None:
        return tuple(gpus)
    found: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        match = next((gpu for gpu in gpus if _is_named(gpu, entry)), None)
        if match is None and entry.startswith("MIG-"):
            match = Gpu(len(found), entry, "a MIG slice", None, None, _FIRST_MIG_CAPABILITY)
        if match is None:
            break
        found.append(match)
    return tuple(found)


def visible_devices(gpus: Sequence[Gpu], chosen: Sequence[Gpu], visible: str | None = None) -> str:
    """The value of CUDA_VISIBLE_DEVICES that leaves the chosen ones of the visible GPUs.

    Args:
        gpus: those that are visible now, as `visible_gpus` returns them.
        chosen: some of them.
        visible: the value that made them visible; its entries (numbers or ids) are kept.
    """
    entries = visible.split(",") if visible is not None else [str(gpu.index) for gpu in gpus]
    named = zip(gpus, entries, strict=False)  # what follows an unknown device is not visible
    return ",".join(entry.strip() for gpu, entry in named if gpu in chosen)


def number_format(requested: str, gpus: Sequence[Gpu]) -> str:
    """The number format to compute matrix products in.

    Args:
        requested: `auto`, or a format, which is returned as it is.
        gpus: those that compute; none: the processor computes.

    Returns:
        `bfloat16` where every GPU, or the processor, computes it natively; `float16` on an older
        GPU, `float32` on an older processor.
    """
    if requested != AUTO:
        return requested
    if not gpus:
        return processor().native_format
    native = all(gpu.compute_capability >= BFLOAT16_CAPABILITY for gpu in gpus)
    return "bfloat16" if native else "float16"


def filled_gpus(report: NvidiaReport, share: float) -> list[str]:
    """The GPUs with less than a share of their memory free, each with the processes that hold it."""
    return [
        f"GPU {gpu.index} ({gpu.name}) has {100 * (gpu.free_share() or 0):.0f} % free, held by "
        + (", ".join(str(one) for one in report.holders(gpu)) or "processes that nvidia-smi hides")
        for gpu in report.gpus
        if not gpu.has_free(share)
    ]


def wait_for_free_memory(
    field: str,
    share: float,
    read: Read = nvidia_report,
    seconds: float = RELEASE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Return when every GPU of this process has a share of its memory free.

    Called by the process that was given the GPUs, before it makes its CUDA context: Ray hands a GPU
    on when the actor that had it is gone, but its memory is free only when the driver has torn down
    every process that was on it, the engine's own worker processes included.

    Args:
        field: the setting that holds the share, for the message.
        share: share of each GPU's memory, from 0 to 1.
        read: reads the GPUs that this process may use.
        seconds: time given to the processes that end.
        clock: seconds that pass.

    Raises:
        MachineError: a GPU is still filled at the deadline; the message names who holds it.
    """
    deadline = clock() + seconds
    while filled := filled_gpus(read(), share):
        if clock() >= deadline:
            raise MachineError(
                f"{field}: {share:g} of a GPU's memory must be free, {'; '.join(filled)}, after "
                f"{seconds:.0f} s; stop those processes, hide the GPU ({VISIBLE_DEVICES}), or lower "
                f"{field}"
            )
        time.sleep(POLL_SECONDS)


def report_on(device: str) -> NvidiaReport:
    """The report on a device of this process: `cuda:0` is the first GPU that it may use.

    Without GPUs for another device, such as `cpu`.
    """
    kind, _, index = device.partition(":")
    report = nvidia_report()
    first = int(index or 0)
    return replace(report, gpus=report.gpus[first : first + 1] if kind == "cuda" else ())


def _is_named(gpu: Gpu, entry: str) -> bool:
    return entry == str(gpu.index) or (entry.startswith("GPU-") and gpu.uuid.startswith(entry))


def _mib(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _ask(tool: str, query: str) -> str:
    command = [tool, query, "--format=csv,noheader,nounits"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=True
    )
    return done.stdout
