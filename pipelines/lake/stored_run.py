"""The configuration of a run in a lake, for commands that are given only the run's name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.config import RunConfig
from pipelines.errors import LakeError
from pipelines.lake.sql_text import sql_equals

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader


def pinned_config(reader: LakeReader, run: str) -> RunConfig | None:
    """The configuration that a run is pinned to; None if the lake has no such run.

    Raises:
        LakeError: another version of restem made the run, or the lake cannot be read.
    """
    has_runs = reader.version("runs") is not None
    return stored_config(reader, run) if has_runs and run in reader.runs() else None


def stored_config(reader: LakeReader, run: str) -> RunConfig:
    """The configuration that a run is pinned to, with the lake's present location and no clusters.

    Raises:
        LakeError: there is no such run, or another version of restem made it.
    """
    rows = reader.rows(f"SELECT config FROM runs WHERE {sql_equals(run_id=run)}", run)
    tree = json.loads(rows[0]["config"])
    # A lake may have been moved, and values that may be secrets are not stored.
    location = reader.location
    there = {"uri": location.uri, "storage_options": location.storage_options}
    tree["lake"] = {**tree.get("lake", {}), **there}
    # Where work is done is this machine's matter: a lake may be a stranger's, and so its clusters.
    tree["spark"] = {**tree.get("spark", {}), "conf": {}, "remote": None, "master": "local[*]"}
    tree["ray"] = {**tree.get("ray", {}), "address": None}
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise LakeError(
            f"run {run!r}: its configuration is not one of this version ({fields}); use the "
            "version of restem that made it"
        ) from None
