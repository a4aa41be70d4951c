"""Data inside a page's script, where no text in it can end the script or be read as markup."""

from __future__ import annotations

import json
import math
from datetime import datetime

_ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""`<` and `>` would end the script or open a comment, the line separators end a JavaScript string."""


def embedded(data: object) -> str:
    """The data as JSON for a script element; a number that JSON lacks (NaN) is null, a time ISO's."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False).translate(_ESCAPED)


def _plain(data: object) -> object:
    if isinstance(data, dict):
        return {str(name): _plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data.isoformat(timespec="seconds") if isinstance(data, datetime) else data
