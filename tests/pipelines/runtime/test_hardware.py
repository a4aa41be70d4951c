from pathlib import Path

import pytest

from pipelines.runtime import hardware

CPUINFO = """processor\t: 0
model name\t: Some Processor 9000
flags\t\t: fpu sse avx2 avx512f {extra}

processor\t: 1
model name\t: Some Processor 9000
flags\t\t: fpu
"""


def cpuinfo(folder: Path, extra: str) -> Path:
    file = folder / "cpuinfo"
    file.write_text(CPUINFO.format(extra=extra))
    return file


@pytest.mark.parametrize(
    ("extra", "native"),
    [("avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx512_fp16", False)],
)
def test_bfloat16_is_native_with_the_processors_flag(
    tmp_path: Path, extra: str, native: bool
) -> None:
    found = hardware.processor(cpuinfo(tmp_path, extra))
    assert found.name == "Some Processor 9000"
    assert {"avx2", "avx512f"} <= found.flags
    assert found.computes_bfloat16 is native


@pytest.mark.parametrize(("extra", "dtype"), [("avx512_bf16", "bfloat16"), ("", "float32")])
def test_the_native_format_follows_the_processors_flags(
    tmp_path: Path, extra: str, dtype: str
) -> None:
    assert hardware.processor(cpuinfo(tmp_path, extra)).native_format == dtype


def test_a_machine_without_proc_files_has_no_flags(tmp_path: Path) -> None:
    found = hardware.processor(tmp_path / "none")
    assert found.flags == frozenset()
    assert found.cores >= 1
    assert hardware.memory_gib(tmp_path / "none", tmp_path) == 0


def test_a_containers_limits_are_respected(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2 * 2**30}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n")
    assert hardware.usable_cores(tmp_path) == 1
    assert hardware.memory_gib(meminfo, tmp_path) == 2
    assert hardware.available_memory_gib(meminfo) == 8
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.memory_gib(meminfo, tmp_path) == 16
