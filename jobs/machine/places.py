"""The folders that a run writes to: whether it can, and which of them is full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.errors import ConfigError, ExpectationsFailed, InputError, MachineError, first_line
from pipelines.lake.location import Location
from pipelines.runtime.cache import cache_folder

_FULL = ("No space left on device", "Disk quota exceeded")
_NEARLY_FULL_MIB = 64
_CLAIM = "lake.json"


def require_writable(config: RunConfig) -> None:
    """Require that the run's folder and a lake in a folder can be written; nothing is made.

    Raises:
        ConfigError: one of them cannot.
    """
    for setting, folder in _folders(config).items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise ConfigError(
                f"{setting}: must be a folder, and {there} is a file, got {str(folder)!r}; choose "
                "another folder"
            )
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{setting}: cannot write below {there} (read-only, or not permitted), got "
                f"{str(folder)!r}; choose another folder"
            )


def require_own_folder(config: RunConfig) -> None:
    """Require that the run's folder was not made by the run of this name in another lake.

    The two would overwrite each other's logs, reports and half-trained policies.

    Raises:
        ConfigError: it was.
    """
    try:
        claimed = json.loads((config.folder / _CLAIM).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    location = Location.of(config.lake)
    own_id = claimed.get("id")
    if claimed.get("uri") == location.uri or (own_id is not None and own_id == location.lake_id()):
        return
    raise ConfigError(
        f"output: {config.folder} belongs to run {config.name!r} in {claimed.get('uri')}, and this one "
        f"is in {location.uri}; choose another output or --name, or, if that lake has been moved here, "
        f"delete {config.folder / _CLAIM}"
    )


def claim_folder(config: RunConfig) -> None:
    """Note in the run's folder which lake it belongs to: where it is, and its id, as it may be moved."""
    location = Location.of(config.lake)
    config.folder.mkdir(parents=True, exist_ok=True)
    claim = json.dumps({"uri": location.uri, "id": location.lake_id()})
    (config.folder / _CLAIM).write_text(claim, encoding="utf-8")


@contextmanager
def naming_full_disks(config: RunConfig) -> Iterator[None]:
    """Turn the errors of a full disk, which engines report in many ways, into one that names it.

    Raises:
        MachineError: a disk is full.
    """
    try:
        yield
    except (ConfigError, InputError, ExpectationsFailed):
        raise
    except Exception as error:
        places = _folders(config) | {
            "RESTEM_CACHE": cache_folder(),
            "temporary files": Path(tempfile.gettempdir()),
        }
        free = {name: _free_mib(folder) for name, folder in places.items()}
        is_said = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        is_said = is_said or any(text in str(error) for text in _FULL)
        # Some engines lose the reason: then a disk without a megabyte left is the likely one.
        if not is_said and min(free.values()) > 0:
            raise
        shown = [name for name in places if free[name] < _NEARLY_FULL_MIB] or list(places)
        listed = ", ".join(f"{name} {places[name]} ({free[name]:,} MiB free)" for name in shown)
        raise MachineError(
            f"a disk is full: {listed}; free some space there, and the same command goes on "
            f"({first_line(error)[:200]})"
        ) from None


def _folders(config: RunConfig) -> dict[str, Path]:
    location = Location.of(config.lake)
    own = {"output": config.folder.expanduser().absolute()}
    return own | ({"lake.uri": location.folder} if location.is_local else {})


def _free_mib(folder: Path) -> int:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free // 2**20
