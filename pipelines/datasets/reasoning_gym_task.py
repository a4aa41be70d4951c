"""Problems of a reasoning-gym task."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.problem import NumberedRow
from pipelines.errors import InputError

_DEFAULT_SIZE = 500


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The task's items; `options` are the task's own (`size`, ranges, ...).

    Raises:
        InputError: there is no such task, or it does not accept these options.
    """
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

    if source.location not in DATASETS:
        raise InputError(
            f"problems.sources.location: reasoning-gym has no task {source.location!r}; "
            f"it has {_nearest(source.location, list(DATASETS))}"
        )
    options = {"size": _DEFAULT_SIZE, "seed": seed, **source.options}
    try:
        items = reasoning_gym.create_dataset(source.location, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"problems.sources.options: {source.location} does not take {options} ({error})"
        ) from None
    for number in range(1, len(items) + 1):
        yield number, dict(items[number - 1])


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.3)
    return ", ".join(near or sorted(names)[:5]) + ", ..."
