"""A machine without a GPU skips the GPU tests, says why, and imports nothing for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu import nvidia

ROOT = Path(__file__).resolve().parents[2]

BLOCKED = ("vllm", "ray", "pyspark", "delta", "deltalake", "duckdb", "mlflow", "great_expectations")


def test_without_the_drivers_device_the_reason_is_named_before_torch_is_imported(
    tmp_path: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.gpu import nvidia;"
        f"nvidia.NVIDIA_DEVICE = Path({str(tmp_path / 'nvidiactl')!r});"
        "print(nvidia.why_no_gpu()); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no NVIDIA GPU on this machine" in done.stdout


def test_a_gpu_that_torch_cannot_use_is_another_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "NVIDIA_DEVICE", tmp_path)
    monkeypatch.setattr(nvidia, "has_gpu", lambda: False)
    assert "torch cannot use the NVIDIA GPU" in (nvidia.why_no_gpu() or "")
    monkeypatch.setattr(nvidia, "has_gpu", lambda: True)
    assert nvidia.why_no_gpu() is None


def test_memory_is_read_from_the_driver_and_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    # Half of the memory is freed at the second call.
    tool.write_text(
        f"#!/bin/sh\nif [ -e {tmp_path}/asked ]; then echo '100, 24576'; "
        f"else touch {tmp_path}/asked; echo '12388, 24576'; fi\n"
    )
    tool.chmod(0o755)
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
