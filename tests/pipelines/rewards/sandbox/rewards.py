"""A fixture: the reward in each kind of sandbox that works on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pipelines.errors import MachineError
from pipelines.rewards.sandbox.isolation import BUBBLEWRAP, NAMESPACES
from pipelines.rewards.unit_tests import UnitTests, unit_tests

SECONDS = 2.0
SCRIPT = json.dumps({"inputs": ["20\n"], "outputs": ["21\n"]})
ASSERTS = json.dumps(
    {"test_list": ["assert successor(20) == 21", "assert successor(0) == 1"], "test_setup_code": ""}
)


@pytest.fixture(scope="module", params=[BUBBLEWRAP, NAMESPACES])
def reward(request: pytest.FixtureRequest) -> Iterator[UnitTests]:
    try:
        made = unit_tests(sandbox=request.param, timeout_seconds=SECONDS, memory_limit_mb=256)
    except MachineError as error:
        pytest.skip(str(error))
    made.warm_up()
    yield made
    made.close()
