"""BIG-Bench Hard (Suzgun et al., 2022): 23 tasks in 27 files, 6,511 questions.

For evaluation only: its files are marked as data that must not be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from pipelines.config import SourceConfig
from pipelines.config.published import BBH_FILES
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable, missing_text
from pipelines.datasets.records import HUB_NAME, choice, json_list, problems, records
from pipelines.errors import InputError

_VARIANTS = ("_three_objects", "_five_objects", "_seven_objects")


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The questions, each with its `file` and its `task`; `options.files` chooses among the files.

    The location is a hub id, or a folder of `<file>.json`. Two tasks have three files each, one per
    number of objects; `task` is their common name, so that a mean over tasks is over 23.

    Raises:
        InputError: `options.files` names a file that is not of this set, or no files are there.
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
    found = records(source, seed)
    return problems(found, lambda row: _problem(row) if row.get(HUB_NAME) in wanted else None)


def _local(folder: Path, names: list[str]) -> Iterator[NumberedRow]:
    numbers = count(1)
    for name in names:
        for row in json_list(folder / f"{name}.json"):
            yield next(numbers), row if isinstance(row, Unreadable) else {**row, HUB_NAME: name}


def _problem(row: Fields) -> Fields | Unreadable:
    fault = missing_text(row, "input", "target")
    if fault:
        return fault
    file = task = row[HUB_NAME]
    for variant in _VARIANTS:
        task = task.removesuffix(variant)
    return {
        "question": row["input"],
        "reference": row["target"].strip(),
        "solution": None,
        "file": file,
        "task": task,
    }
