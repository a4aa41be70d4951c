"""How solutions are drawn."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipelines.config.section import Section


class Decoding(Section):
    """How solutions are drawn."""

    num_samples: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_k: int = Field(0, ge=0)
    """0 considers all tokens."""
    top_p: float = Field(1.0, gt=0, le=1)


class SamplingConfig(Section):
    """Generate (E-step): N solutions a problem. The paper's values are the defaults."""

    num_samples_per_problem: int = Field(32, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_k: int = Field(40, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)
    stop: tuple[str, ...] = ()
    """Strings that end a solution; they are not part of it."""

    @model_validator(mode="after")
    def _distinct_samples(self) -> Self:
        if self.temperature == 0 and self.num_samples_per_problem > 1:
            raise ValueError(
                "num_samples_per_problem must be 1 at temperature 0 (every sample is the same), "
                f"got {self.num_samples_per_problem}; raise temperature"
            )
        return self
