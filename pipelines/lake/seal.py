"""A seal: the record that a stage's table is complete and passed its checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Seal:
    """One row of `stages`: an attempt at a stage, sealed."""

    iteration: int
    stage: str
    attempt: int
    table_name: str
    version: int
    """Delta version of the table that holds the sealed rows."""
    inputs: tuple[dict[str, Any], ...]
    """Table, iteration and version of each input, see `TableSnapshot.describe`."""
    rows: int
    seconds: float
    measures: Mapping[str, float]
    """What the stage measured while it ran."""
    covers: tuple[str, ...]
    """What the stage has rows for, of what may grow; see `pipelines.stage`."""
    settings: Mapping[str, str]
    """Resolved settings that decided the rows, such as the engine's number format."""
    mlflow_run_id: str | None
    config_hash: str
    code_version: str
    committed_at: datetime

    @property
    def key(self) -> tuple[int, str]:
        """Iteration and stage."""
        return self.iteration, self.stage

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Seal:
        """The seal that a row of `stages` holds."""
        parsed = {
            **row,
            "inputs": tuple(json.loads(row["inputs"])),
            "measures": json.loads(row["measures"]),
            "covers": tuple(json.loads(row["covers"])),
            "settings": json.loads(row["settings"]),
        }
        return cls(**{field.name: parsed[field.name] for field in fields(cls)})

    def to_row(self) -> dict[str, Any]:
        """The row of `stages`, without the columns that every table of a run has."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        del row["iteration"]
        return row | {
            "inputs": json.dumps(list(self.inputs)),
            "measures": json.dumps(dict(self.measures)),
            "covers": json.dumps(sorted(self.covers)),
            "settings": json.dumps(dict(self.settings)),
        }
