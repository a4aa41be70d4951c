"""BIG-Bench Hard (Suzgun et al., 2022): 23 tasks in 27 files, 6,511 questions.

For evaluation alone: its files carry the mark of data that must not be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pipelines.config import SourceConfig
from pipelines.config.published import BBH_FILES
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import NAME, choice, json_list, problems, records
from pipelines.errors import InputError

_VARIANTS = ("_three_objects", "_five_objects", "_seven_objects")


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The questions, each with its `file` and its `task`; `options.files` leaves others out.

    The location is a hub id, or a folder of `<file>.json`. Two tasks are in three files each, by
    the number of objects: `task` is their common name, so that a mean by task is over 23.

    Raises:
        InputError: `options.files` names a file that is not of this set, or none is there.
    """
    wanted = choice(source, "files", BBH_FILES, str)
    unknown = wanted - set(BBH_FILES)
    if unknown:
        raise InputError(
            f"problems.sources.options.files must name files of BIG-Bench Hard, "
            f"got {', '.join(sorted(unknown))}; they are {', '.join(BBH_FILES)}"
        )
    folder = Path(source.location).expanduser()
    chosen = [name for name in BBH_FILES if name in wanted]
    if (folder / f"{chosen[0]}.json").is_file():
        return problems(_local(folder, chosen), _problem)
    return problems(records(source, seed), partial(_wanted, wanted))


def task_of(file: str) -> str:
    """The task that a file belongs to."""
    for variant in _VARIANTS:
        file = file.removesuffix(variant)
    return file


def _local(folder: Path, names: list[str]) -> Iterator[Row]:
    numbers = count(1)
    for name in names:
        for row in json_list(folder / f"{name}.json"):
            yield next(numbers), row if isinstance(row, Unreadable) else {**row, NAME: name}


def _wanted(wanted: set[str], row: dict[str, Any]) -> dict[str, Any] | Unreadable | None:
    return _problem(row) if row.get(NAME) in wanted else None


def _problem(row: dict[str, Any]) -> dict[str, Any] | Unreadable:
    fault = lacking(row, "input", "target")
    if fault:
        return fault
    return {
        "question": row["input"],
        "reference": row["target"].strip(),
        "solution": None,
        "file": row[NAME],
        "task": task_of(row[NAME]),
    }
