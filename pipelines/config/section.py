"""The base class of every section of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

OF_THE_LAST_POLICY = "@last"
"""After a stage's name in `Section.first_stage_of`: its rows of the last iteration only."""


class Section(BaseModel):
    """A frozen section of settings; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    first_stage: ClassVar[str] = ""
    """The first stage of the loop whose rows depend on the section's settings; empty: none do."""
    first_stage_of: ClassVar[Mapping[str, str]] = {}
    """The settings of which another stage is the first."""

    @classmethod
    def first_stage_decided(cls, setting: Sequence[str]) -> str:
        """The first stage whose rows depend on a setting; empty if none do.

        Args:
            setting: its name within the section, by parts: ("curate", "cutoff") of a run.
        """
        name, *parts = setting
        if name in cls.first_stage_of:
            return cls.first_stage_of[name]
        kind = cls.model_fields[name].annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind.first_stage_decided(parts) if parts else kind.first_stage
        return cls.first_stage
