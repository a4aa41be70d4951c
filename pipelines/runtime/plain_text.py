"""Text that cannot be stored: escapes in JSON and YAML can write half of a surrogate pair."""

from __future__ import annotations

from collections.abc import Mapping


def unstorable(value: object) -> str | None:
    """The first text in nested values that no UTF-8 file can hold, in ASCII; None if there is none.

    Raises:
        RecursionError: the values are nested too deeply, or hold themselves.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return ascii(value[max(0, error.start - 20) : error.end + 20])
        return None
    if isinstance(value, Mapping):
        return next((found for pair in value.items() if (found := unstorable(pair))), None)
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := unstorable(item))), None)
    return None
