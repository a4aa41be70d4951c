"""A run's settings without the values that may be keys or passwords."""

from __future__ import annotations

from typing import Any

from pipelines.config.run import RunConfig

_MAY_HOLD_KEYS = (("lake", "storage_options"), ("spark", "conf"))


def redacted(config: RunConfig) -> dict[str, Any]:
    """The settings with `***` for values that may be keys; still readable as a RunConfig."""
    tree = config.model_dump(mode="json")
    for section, field in _MAY_HOLD_KEYS:
        tree[section][field] = dict.fromkeys(tree[section][field], "***")
    return tree


def redacted_for_tracker(config: RunConfig) -> dict[str, Any]:
    """The settings to show to the users of a tracking server: of keys, only the names.

    Without the server's own address, which may hold a password. The lake's table `runs` keeps it:
    commands that are given only a run's name find the server there.
    """
    tree = redacted(config)
    del tree["mlflow"]["tracking_uri"]
    for section, field in _MAY_HOLD_KEYS:
        tree[section][field] = sorted(tree[section][field])
    return tree
