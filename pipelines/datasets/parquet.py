"""Problems in a Parquet file, or in a folder of them."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.problem import NumberedRow
from pipelines.errors import InputError, first_line


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The rows in file order; the location is a path, or a URI that Arrow can open.

    Raises:
        InputError: there is no such file, or it is not Parquet.
    """
    del seed
    import pyarrow as pa
    from pyarrow import dataset

    number = 0
    try:
        for batch in dataset.dataset(source.location, format="parquet").to_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except FileNotFoundError:
        raise InputError(
            f"problems.sources.location: no Parquet file {source.location!r}; check the path"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{source.location}: cannot be read as Parquet ({first_line(error)})"
        ) from None
