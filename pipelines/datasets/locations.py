"""Environment variables in locations, so that one configuration serves every machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipelines.config.secret import without_credentials
from pipelines.errors import InputError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expanded(location: str, setting: str) -> str:
    """The location with each `${NAME}` replaced by that environment variable, and `~` by the home.

    Done when the source is read, not when the configuration is: a run's pinned settings then do not
    depend on the machine, and a run can be planned where its data is missing.

    Args:
        location: path, URI or id.
        setting: name of the location's setting, for the message.

    Raises:
        InputError: a variable is not set, or is empty.
    """

    def value(found: re.Match[str]) -> str:
        text = os.environ.get(found[1], "")
        if not text:
            raise InputError(
                f"{setting}: {without_credentials(location)!r} needs the environment variable {found[1]}, which is not "
                f"set; export {found[1]}=FOLDER (docs/data.md says what the folder holds)"
            )
        return text

    place = _VARIABLE.sub(value, location)
    return str(Path(place).expanduser()) if place.startswith("~") else place
