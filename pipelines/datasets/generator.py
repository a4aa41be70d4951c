"""Problems made by a Python function: one of this package, or the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, is_dataclass

from pipelines.config import SourceConfig
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable
from pipelines.errors import InputError


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The items of the iterable that `module:function` returns for `seed` and the source's options.

    They are mappings or dataclass instances, with the fields that the configuration names.

    Raises:
        InputError: there is no such function, or it does not accept these arguments.
    """
    function = _function(source.location)
    # The options may set the seed, so that runs with different seeds have the same problems.
    arguments = {"seed": seed, **source.options}
    try:
        made = iter(function(**arguments))
    except TypeError as error:
        raise InputError(
            f"problems.sources.options: {source.location} cannot be called with "
            f"{', '.join(arguments)} ({error}); it must accept them and return an iterable"
        ) from None
    for number, row in enumerate(made, 1):
        yield number, _fields(row)


def _function(location: str) -> Callable[..., Iterable[object]]:
    module_name, colon, name = location.partition(":")
    if not colon or not module_name or not name:
        raise InputError(
            f"problems.sources.location: a generator must be 'module:function', got {location!r}"
        )
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"problems.sources.location: cannot import {location!r} ({error}); check its spelling "
            "and that it can be imported from here"
        ) from None
    if not callable(function):
        raise InputError(f"problems.sources.location: {location!r} is not a function")
    return function


def _fields(row: object) -> Fields | Unreadable:
    if isinstance(row, dict):
        return row
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    return Unreadable(f"must be a mapping of fields, got {row!r}; fix the generator")
