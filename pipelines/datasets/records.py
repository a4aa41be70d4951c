"""The rows of a published problem set: from the hub, or from a local file in its own format.

| location | read as |
|---|---|
| `*.jsonl`, `*.json`, `*.csv` (each may end in `.gz`), `*.parquet` | that file |
| anything else | a hub id, or a local folder laid out like one |
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Collection, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

from pipelines.config import SourceConfig
from pipelines.config.published import PUBLISHED
from pipelines.datasets import files, hub, parquet
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable
from pipelines.errors import InputError

HUB_NAME = "hub_name"
"""Field added to each row: the hub's configuration, or BIG-Bench Hard's file, that it is from."""

T = TypeVar("T")


def records(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The set's rows as they are published, numbered from 1.

    Raises:
        InputError: the file, or the set on the hub, cannot be read.
    """
    ending = source.location.lower().removesuffix(".gz").rpartition(".")[2]
    if ending == "jsonl":
        return files.jsonl_rows(source, seed)
    if ending == "csv":
        return files.csv_rows(source.model_copy(update={"options": {}}), seed)
    if ending == "json":
        return enumerate(json_list(Path(source.location).expanduser()), 1)
    if ending == "parquet":
        return parquet.rows(source, seed)
    return _from_hub(source, seed)


def json_list(path: Path) -> list[Fields | Unreadable]:
    """The rows of a JSON file that is a list, or an object with a list `examples`.

    Raises:
        InputError: the file cannot be read, or is neither.
    """
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        tree = json.loads(text)
    except OSError as error:
        raise InputError(
            f"problems.sources.location: cannot read {str(path)!r} "
            f"({error.strerror or error}); check the path"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); fix the file") from None
    rows = tree.get("examples") if isinstance(tree, dict) else tree
    if not isinstance(rows, list):
        raise InputError(
            f"{path}: must be a list of problems, or an object with one as 'examples'; fix the file"
        )
    faulty = "must be a JSON object; give fields by name"
    return [row if isinstance(row, dict) else Unreadable(faulty) for row in rows]


def problems(
    rows: Iterator[NumberedRow], make: Callable[[Fields], Fields | Unreadable | None]
) -> Iterator[NumberedRow]:
    """The rows as problems: `question`, `reference`, `solution` and further fields.

    Args:
        rows: as they are published.
        make: returns a row's problem, or its fault, or None to leave it out.
    """
    for number, row in rows:
        made = row if isinstance(row, Unreadable) else make(row)
        if made is not None:
            yield number, made


def choice(source: SourceConfig, option: str, default: Collection[T], kind: type[T]) -> set[T]:
    """The values of an option that chooses among problems, such as `levels: [1, 2]`.

    Raises:
        InputError: the option is not a list of values of that type.
    """
    chosen = source.options.get(option, default)
    if isinstance(chosen, str) or not all(isinstance(value, kind) for value in chosen):
        raise InputError(
            f"problems.sources.options.{option} must be a list of {kind.__name__} values, "
            f"got {chosen!r}"
        )
    return set(chosen)


def _from_hub(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    known = PUBLISHED[source.kind]
    options = {name: value for name, value in source.options.items() if name not in known.filters}
    if source.location == known.hub_id:
        options = known.options | options
    names = [options["name"]] if "name" in options else known.names or (None,)
    numbers = count(1)
    for name in names:
        if name is not None:
            options = {**options, "name": name}
        for _, row in hub.rows(source.model_copy(update={"options": options}), seed):
            yield next(numbers), {**row, HUB_NAME: name} if isinstance(row, dict) else row
