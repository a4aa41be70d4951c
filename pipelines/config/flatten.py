"""A configuration as it is told to others: flat, and without what may be secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.config import RunConfig


def without_secrets(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration, without the values that may hold keys and passwords."""
    tree = config.model_dump(mode="json")
    del tree["mlflow"]["tracking_uri"]
    for section, field in (("lake", "storage_options"), ("spark", "conf")):
        tree[section][field] = sorted(tree[section][field])
    return tree


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A resolved configuration as `section.field` -> text; lists are JSON."""
    flat: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat
