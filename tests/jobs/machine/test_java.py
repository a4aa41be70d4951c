from __future__ import annotations

import subprocess

import pytest

from jobs.machine.java import is_fit, java_version, packaged_java


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        (None, False),
        ((1, 8, 0), False),
        ((11, 0, 2), False),
        ((17,), True),
        ((21, 0, 8), True),
        ((25,), False),
        ((25, 0, 2), False),
        ((25, 0, 3), True),
        ((26,), True),
    ],
)
def test_spark_runs_on_java_from_17_on_except_the_first_releases_of_25(
    version: tuple[int, ...] | None, fits: bool
) -> None:
    assert is_fit(version) is fits


def test_the_packaged_java_starts_with_the_flag_that_spark_gives() -> None:
    home = packaged_java()
    assert home is not None
    version = java_version(home / "bin" / "java")
    assert version is not None
    assert is_fit(version)
    started = subprocess.run(
        [home / "bin" / "java", "--add-modules=jdk.incubator.vector", "-Dspaced=a b", "-version"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert started.returncode == 0, started.stderr
