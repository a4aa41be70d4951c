"""A run that is in a lake already: its configuration, for commands that are given only its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.config import RunConfig
from pipelines.errors import LakeError
from pipelines.lake.answers import quoted

if TYPE_CHECKING:
    from pipelines.lake.location import Location
    from pipelines.lake.reader import LakeReader


def stored_config(reader: LakeReader, location: Location, run: str) -> RunConfig:
    """The configuration that a run is pinned to, with the lake where it is now.

    Raises:
        LakeError: there is no such run, or another version of restem has made it.
    """
    rows = reader.rows(f"SELECT config FROM runs WHERE run_id = {quoted(run)}", run)
    tree = json.loads(rows[0]["config"])
    # A lake may have been moved, and values that may be keys are not stored.
    place = {"uri": location.uri, "storage_options": location.storage_options}
    tree["lake"] = {**tree.get("lake", {}), **place}
    tree["spark"] = {**tree.get("spark", {}), "conf": {}}
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise LakeError(
            f"run {run!r}: its configuration is not one of this version ({fields}); use the "
            "version of restem that made it"
        ) from None
