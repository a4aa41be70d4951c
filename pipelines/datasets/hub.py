"""Problems of a data set on the hub."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import SourceConfig
from pipelines.datasets.problem import NumberedRow
from pipelines.errors import InputError, first_line

if TYPE_CHECKING:
    from datasets import Dataset


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The rows of one of the data set's splits.

    `options` are those of `datasets.load_dataset` (`name`, `revision`, ...). The split read is
    `options.split`, else the source's `split`, else "train". So a source with `options: {split:
    train}` and no `split` is read from the hub's training split, and then split by hash.

    Raises:
        InputError: the hub has no such data set or split, or cannot be reached.
    """
    del seed
    for number, row in enumerate(_load(source), 1):
        yield number, dict(row)


def _load(source: SourceConfig) -> Dataset:
    import datasets
    from huggingface_hub import constants

    # A local folder in the hub's layout needs no network.
    if not _is_local(source.location) and not _is_reachable(constants.ENDPOINT):
        # The client would retry for most of a minute; offline it goes to its cache at once.
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    options: dict[str, Any] = {"split": source.split or "train", **source.options}
    try:
        return datasets.load_dataset(source.location, **options)
    except (
        OSError,
        ValueError,
        TypeError,
        RuntimeError,
        datasets.exceptions.DatasetsError,
    ) as error:
        reason = first_line(error)[:200].rstrip(".")
        raise InputError(
            f"problems.sources.location: cannot get {source.location!r} (split "
            f"{options['split']!r}) from the hub ({reason}); check its spelling, its options and "
            "the network, or use a file (kind: jsonl, csv, parquet)"
        ) from None


def _is_local(location: str) -> bool:
    try:
        return Path(location).exists()
    except (OSError, ValueError):  # too long for a path, or not one
        return False


def _is_reachable(endpoint: str) -> bool:
    if urllib.request.getproxies():
        return True  # A proxy may reach hosts that this process cannot: let the client try.
    place = urllib.parse.urlsplit(endpoint)
    port = place.port or (80 if place.scheme == "http" else 443)
    try:
        with socket.create_connection((str(place.hostname), port), timeout=5):
            return True
    except OSError:
        return False
