from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import MachineError
from pipelines.placement.nvidia import (
    Gpu,
    GpuProcess,
    NvidiaReport,
    filled_gpus,
    number_format,
    nvidia_report,
    parse_gpus,
    parse_processes,
    report_on,
    visible_devices,
    visible_gpus,
    wait_for_free_memory,
)
from pipelines.runtime.hardware import processor
from tests.pipelines.placement.machines import SMI_GPUS, SMI_PROCESSES, gpu, report

FIELD = "engine.gpu_memory_utilization"
ENGINE = GpuProcess(4711, "/usr/bin/python3", "GPU-0", 70 * 1024)


def install_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An nvidia-smi that answers with a shell script."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpus").write_text(SMI_GPUS)
    (tmp_path / "processes").write_text(SMI_PROCESSES)
    script = f'case "$1" in *gpu=*) cat {tmp_path}/gpus;; *) cat {tmp_path}/processes;; esac'
    install_nvidia_smi(tmp_path, monkeypatch, script)


def test_the_gpus_and_the_driver_are_read_from_nvidia_smi() -> None:
    gpus, driver = parse_gpus(SMI_GPUS)
    assert driver == "580.65.06"
    first = Gpu(0, "GPU-aaaa1111", "NVIDIA H100 80GB HBM3", 81559, 81078, (9, 0))
    assert gpus[0] == first
    assert gpus[1].free_share() == pytest.approx(12004 / 81559)


def test_memory_that_nvidia_smi_does_not_state_is_unknown_not_full() -> None:
    (spark,), _ = parse_gpus("0, GPU-x, NVIDIA GB10, [N/A], [N/A], 12.1, 580.95.05\n")
    assert spark.free_share() is None
    assert filled_gpus(report(spark), 0.9) == []


def test_processes_are_read_whatever_their_names_hold() -> None:
    known, unknown = parse_processes(SMI_PROCESSES)
    assert known == GpuProcess(4711, "/usr/bin/python3", "GPU-bbbb2222", 69000)
    assert str(known) == "python3 (process 4711, 67.4 GiB)"
    assert unknown == GpuProcess(4712, "VLLM::Worker, a, b", "GPU-bbbb2222", None)
    assert parse_processes("") == ()


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", [2, 0]),
        ("GPU-1", [1]),
        ("0,7,1", [0]),
    ],
)
def test_cuda_visible_devices_says_which_gpus_are_ours(
    visible: str | None, indices: list[int]
) -> None:
    found = visible_gpus([gpu(0), gpu(1), gpu(2)], visible)
    assert [one.index for one in found] == indices


@pytest.mark.parametrize(
    ("visible", "chosen", "value"),
    [
        (None, [0, 2], "0,2"),
        ("2, 0, 1", [0, 2], "2,0"),
        ("GPU-2,GPU-1", [1], "GPU-1"),
        ("1,7,2", [1], "1"),
    ],
)
def test_the_gpus_chosen_of_those_that_are_ours_keep_their_names(
    visible: str | None, chosen: list[int], value: str
) -> None:
    ours = visible_gpus([gpu(0), gpu(1), gpu(2)], visible)
    found = visible_devices(ours, [gpu(index) for index in chosen], visible)
    assert found == value
    assert [one.index for one in visible_gpus([gpu(0), gpu(1), gpu(2)], found)] == [
        one.index for one in ours if one.index in chosen
    ]


def test_a_slice_of_a_gpu_is_a_gpu_whose_memory_is_unknown() -> None:
    (found,) = visible_gpus([gpu(0)], "MIG-1234")
    assert (found.uuid, found.total_mib) == ("MIG-1234", None)
    assert number_format("auto", [found]) == "bfloat16"


def test_the_report_holds_what_this_process_may_use(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [one.index for one in nvidia_report().gpus] == [0, 1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [one.index for one in nvidia_report().gpus] == [1]
    assert [one.index for one in report_on("cuda:0").gpus] == [1]
    assert report_on("cuda:1").gpus == ()
    assert report_on("cpu").gpus == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia_report().problem == "CUDA_VISIBLE_DEVICES='' hides its 2 GPUs"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo NVIDIA-SMI has failed; exit 9", "nvidia-smi fails (NVIDIA-SMI has failed)"),
        ("echo 'No devices were found'", "nvidia-smi fails (No devices were found)"),
        ("exit 0", "nvidia-smi lists none"),
    ],
)
def test_a_driver_that_does_not_work_is_no_gpu_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    install_nvidia_smi(tmp_path, monkeypatch, script)
    found = nvidia_report()
    assert found.gpus == ()
    assert found.problem.startswith(problem)


def test_without_the_tool_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_report() == NvidiaReport(problem="nvidia-smi is not found")


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ([(9, 0)], "bfloat16"),
        ([(8, 0)] * 4, "bfloat16"),
        ([(12, 0)] * 8, "bfloat16"),
        ([(7, 5)], "float16"),
        ([(8, 9), (7, 5)], "float16"),
    ],
)
def test_the_number_format_is_what_every_gpu_computes(
    capabilities: list[tuple[int, int]], dtype: str
) -> None:
    gpus = [gpu(index, capability=one) for index, one in enumerate(capabilities)]
    assert number_format("auto", gpus) == dtype
    assert number_format("float32", gpus) == "float32"


def test_without_gpus_the_number_format_is_the_processors() -> None:
    assert number_format("auto", []) == processor().native_format


def test_a_filled_gpu_is_named_with_those_who_hold_it() -> None:
    held = report(gpu(0, used_gib=70), gpu(1), processes=(ENGINE,))
    (line,) = filled_gpus(held, 0.9)
    assert line.startswith("GPU 0 (NVIDIA H100) has 12 % free")
    assert "python3 (process 4711, 70.0 GiB)" in line
    (hidden,) = filled_gpus(report(gpu(0, used_gib=70)), 0.9)
    assert "processes that nvidia-smi hides" in hidden


class FakeClock:
    """Time that passes by one second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_waiting_ends_when_the_stage_before_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.placement.nvidia.POLL_SECONDS", 0)
    full, free = report(gpu(used_gib=70), processes=(ENGINE,)), report(gpu())
    answers: Iterator[NvidiaReport] = iter([full, full, free])
    wait_for_free_memory(FIELD, 0.9, lambda: next(answers), 60, FakeClock())
    assert next(answers, None) is None


def test_waiting_ends_at_the_deadline_with_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.placement.nvidia.POLL_SECONDS", 0)
    full = report(gpu(used_gib=70), processes=(ENGINE,))
    with pytest.raises(MachineError) as caught:
        wait_for_free_memory(FIELD, 0.9, lambda: full, 5, FakeClock())
    message = str(caught.value)
    assert message.startswith(f"{FIELD}: 0.9 of a GPU's memory must be free, GPU 0")
    assert "process 4711" in message
    assert "after 5 s; stop those processes" in message
    assert "\n" not in message
