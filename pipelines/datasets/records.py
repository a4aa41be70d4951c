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
from typing import Any

from pipelines.config import SourceConfig
from pipelines.config.published import PUBLISHED
from pipelines.datasets import files, hub, parquet
from pipelines.datasets.problem import Row, Unreadable
from pipelines.errors import InputError

NAME = "hub_name"
"""Field added to a row of a set that is several configurations of the hub: which of them."""


def records(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The set's rows as they were published, numbered from 1.

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


def json_list(path: Path) -> list[Any]:
    """The rows of a JSON file: a list, or the list `examples` of an object.

    Raises:
        InputError: the file cannot be read, or holds neither.
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
        raise InputError(f"{path}: is not JSON ({error}); mend the file") from None
    rows = tree.get("examples") if isinstance(tree, dict) else tree
    if not isinstance(rows, list):
        raise InputError(f"{path}: must hold a list of problems, or one as 'examples'; mend it")
    faulty = "must be a JSON object; give fields by name"
    return [row if isinstance(row, dict) else Unreadable(faulty) for row in rows]


def problems(
    rows: Iterator[Row], make: Callable[[dict[str, Any]], dict[str, Any] | Unreadable | None]
) -> Iterator[Row]:
    """The rows as problems (`question`, `reference`, `solution`, and what else is known of each).

    Args:
        rows: as they were published.
        make: a row's problem, or what is wrong with it; None leaves it out.
    """
    for number, row in rows:
        made = row if isinstance(row, Unreadable) else make(row)
        if made is not None:
            yield number, made


def choice(source: SourceConfig, option: str, default: Collection[Any], kind: type) -> set[Any]:
    """The values of an option that chooses among problems, such as `levels: [1, 2]`.

    Raises:
        InputError: it is not a list of values of that kind.
    """
    chosen = source.options.get(option, default)
    if isinstance(chosen, str) or not all(isinstance(value, kind) for value in chosen):
        raise InputError(
            f"problems.sources.options.{option} must be a list of {kind.__name__} values, "
            f"got {chosen!r}"
        )
    return set(chosen)


def _from_hub(source: SourceConfig, seed: int) -> Iterator[Row]:
    known = PUBLISHED[source.kind]
    asked = {name: value for name, value in source.options.items() if name not in known.filters}
    options = {**known.options, **asked} if source.location == known.hub_id else asked
    names = [options["name"]] if "name" in options else known.names or (None,)
    numbers = count(1)
    for name in names:
        chosen = options if name is None else {**options, "name": name}
        for _, row in hub.rows(source.model_copy(update={"options": chosen}), seed):
            yield next(numbers), {**row, NAME: name} if isinstance(row, dict) else row
