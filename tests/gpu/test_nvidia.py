"""A machine without a GPU skips the GPU tests, says why, and imports nothing for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu import nvidia

ROOT = Path(__file__).resolve().parents[2]

BLOCKED = ("vllm", "ray", "pyspark", "delta", "deltalake", "duckdb", "mlflow", "great_expectations")


def tool(folder: Path, script: str) -> None:
    """A stand-in for nvidia-smi."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "no NVIDIA GPU on this machine: nvidia-smi is not found"),
        ("echo 'No devices found'; exit 6", "nvidia-smi -L says 'No devices found'"),
    ],
)
def test_without_a_gpu_the_reason_is_named_before_torch_is_imported(
    tmp_path: Path, script: str | None, reason: str
) -> None:
    if script is not None:
        tool(tmp_path, script)
    code = (
        "import sys; from tests.gpu.nvidia import why_no_gpu;"
        "print(why_no_gpu()); sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert reason in done.stdout


def test_a_gpu_that_torch_cannot_use_is_another_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(nvidia, "torch_sees_a_gpu", lambda: False)
    assert "torch cannot use the NVIDIA GPU" in (nvidia.why_no_gpu() or "")
    monkeypatch.setattr(nvidia, "torch_sees_a_gpu", lambda: True)
    assert nvidia.why_no_gpu() is None


def test_memory_is_read_from_the_driver_and_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The memory is freed by the second call.
    tool(
        tmp_path,
        f"if [ -e {tmp_path}/asked ]; then echo '100, 24576'; "
        f"else touch {tmp_path}/asked; echo '12388, 24576'; fi",
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert nvidia.memory_mib() == (12388, 24576)
    (tmp_path / "asked").unlink()
    assert nvidia.wait_until_freed(50, seconds=5) == 100
    (tmp_path / "asked").unlink()
    assert nvidia.wait_until_freed(50, seconds=0) == 12388


@pytest.mark.slow
def test_the_training_tests_need_torch_transformers_pyarrow_and_pydantic_alone() -> None:
    """What docs/gpu.md says of `tests/gpu/test_training.py`: none of the other engines is imported."""
    code = (
        "import sys\n"
        f"for name in {BLOCKED!r}: sys.modules[name] = None\n"
        "import tests.conftest, tests.gpu.conftest, tests.gpu.test_training\n"
        "import pipelines.tuning.fine_tune, pipelines.tuning.launch, pipelines.tuning.worker\n"
        "from pipelines.rewards.workers.pool import ScoringPool\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
