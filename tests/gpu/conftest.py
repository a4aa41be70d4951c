"""Fixtures of the GPU tests: which device a test computes on, and what to skip without a GPU."""

from __future__ import annotations

import pytest

from tests.gpu.nvidia import why_no_gpu


@pytest.fixture(scope="session")
def gpu() -> None:
    """Skip the test unless there is an NVIDIA GPU that torch can use."""
    reason = why_no_gpu()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("cpu", marks=pytest.mark.slow),
        pytest.param("cuda:0", marks=[pytest.mark.slow, pytest.mark.gpu]),
    ],
)
def device(request: pytest.FixtureRequest) -> str:
    """The device whose results are compared with the CPU's: the CPU itself, or the first GPU.

    Compared with itself the CPU shows that a test's own arithmetic is right on any machine.
    """
    name = str(request.param)
    if name != "cpu":
        request.getfixturevalue("gpu")
    return name
