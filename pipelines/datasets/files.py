"""Problems in a text file: JSON Lines or CSV, plain or compressed (`.gz`)."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from pipelines.config import SourceConfig
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable
from pipelines.errors import InputError

_UTF_8 = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""


def jsonl_rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """One JSON object per line; empty lines are skipped.

    Raises:
        InputError: the file cannot be read.
    """
    del seed
    with _open(source) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _parsed(line)


def csv_rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The records after the first line, which has the fields' names; they are numbered from 1.

    `options` are those of Python's csv reader, such as `delimiter`, and `encoding` (default: UTF-8).

    Raises:
        InputError: the file cannot be read.
    """
    del seed
    csv.field_size_limit(sys.maxsize)
    with _open(source) as lines:
        dialect = {name: value for name, value in source.options.items() if name != "encoding"}
        try:
            reader = csv.DictReader(lines, strict=True, **dialect)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"problems.sources.options: {', '.join(dialect)} do not fit Python's csv "
                f"reader ({error}); such are delimiter, quotechar and encoding"
            ) from None
        try:
            names = list(reader.fieldnames or ())
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(
                    f"{source.location}: line 1: must name each field once, got {twice[0]!r} "
                    f"{names.count(twice[0])} times; rename one"
                )
            for number, record in enumerate(reader, 1):
                yield number, _complete(record)
        except csv.Error as error:
            raise InputError(
                f"{source.location}: line {max(reader.line_num, 1)}: is not CSV ({error}); fix the line"
            ) from None


def _parsed(line: str) -> Fields | Unreadable:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return Unreadable(f"is not JSON ({error.msg}, column {error.colno}); fix the line")
    except ValueError:
        return Unreadable("has a number of thousands of digits; write it as text")
    except RecursionError:
        return Unreadable("is nested too deeply; fix the line")
    if not isinstance(row, dict):
        return Unreadable(f"must be a JSON object, got {line.strip()[:60]!r}; give fields by name")
    return row


def _complete(record: dict[str | None, str | None]) -> Fields | Unreadable:
    if None in record or None in record.values():
        names = ", ".join(repr(name) for name in record if name is not None)
        return Unreadable(f"must have the fields {names}, one value each; fix the record")
    return {str(name): value for name, value in record.items()}


@contextmanager
def _open(source: SourceConfig) -> Iterator[TextIO]:
    path = Path(source.location).expanduser()
    newline = "" if source.kind == "csv" else None
    compressed = path.suffix == ".gz"
    encoding = str(source.options.get("encoding", _UTF_8)) if source.kind == "csv" else _UTF_8
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            yield TextIOWrapper(file, encoding=encoding, newline=newline)
    except LookupError:
        raise InputError(
            f"problems.sources.options.encoding must be one that Python knows, got {encoding!r}"
        ) from None
    except UnicodeDecodeError as error:
        known = "UTF-8" if encoding == _UTF_8 else encoding
        hint = ", or name its encoding in options.encoding" if source.kind == "csv" else ""
        raise InputError(
            f"{path}: must be {known} text ({error.reason}); convert the file{hint}"
        ) from None
    except OSError as error:
        raise InputError(
            f"problems.sources.location: cannot read {str(path)!r} "
            f"({error.strerror or error}); check the path"
        ) from None
