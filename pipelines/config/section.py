"""The base class of every section of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen section of settings; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
