from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes milliseconds first: its failures are told at once."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One local Spark session with Delta for all tests that need one."""
    from jobs.machine.sessions import spark_session
    from pipelines.config import SparkConfig

    session = spark_session(SparkConfig(master="local[2]"), tmp_path_factory.mktemp("spark"))
    yield session
    session.stop()
