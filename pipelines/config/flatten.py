"""Nested settings by dotted name: `section.field`."""

from __future__ import annotations

import json
from collections.abc import Mapping


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """The values of nested settings by dotted name; lists and empty sections are values."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def flat_texts(tree: Mapping[str, object]) -> dict[str, str]:
    """As `flatten`, with values as text: a text as it is, any other value as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in flatten(tree).items()
    }


def changed_settings(
    old: Mapping[str, object], new: Mapping[str, object], prefix: str = ""
) -> list[str]:
    """The settings that differ, as `name: old -> new`.

    A section that only one side has is one change and shown whole: a section that is switched on
    should not read like a list of defaults that were changed.
    """
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        name = f"{prefix}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            lines += changed_settings(before, after, f"{name}.")
        elif before != after:
            lines.append(f"{name}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines
