"""Problems in a Delta table."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.problem import NumberedRow
from pipelines.lake.external_tables import external_batches


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The table's rows at `options.version`, or at its newest version.

    Other `options` are delta-rs's storage options.

    Raises:
        InputError: there is no such table or version.
    """
    del seed
    number = 0
    for batch in external_batches(source.location, source.options):
        for row in batch.to_pylist():
            number += 1
            yield number, row
