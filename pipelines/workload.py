"""How much work a stage is, as far as the configuration tells: what `restem plan` prints."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.config.sizes import Sizes


@dataclass(frozen=True)
class Amount:
    """Count per problem, by split."""

    per_problem: dict[str, int]
    at_most: bool = False

    def times(self, factor: int) -> Amount:
        """Each count multiplied by a factor."""
        return Amount({split: n * factor for split, n in self.per_problem.items()}, self.at_most)

    def total(self, sizes: Sizes) -> int | None:
        """The total over all problems; None if the size of a split that counts is not known."""
        total = 0
        for split, each in self.per_problem.items():
            size = sizes.get(split)
            if size is None and each:
                return None
            total += each * (size or 0)
        return total

    def formula(self, sizes: Sizes) -> str:
        """The total in terms of the splits whose size is not known: `12 x train + 200`."""
        unknown = {split: n for split, n in self.per_problem.items() if sizes.get(split) is None}
        known = {split: n for split, n in self.per_problem.items() if split not in unknown}
        rest = Amount(known).total(sizes)
        parts = [f"{n:,} x {split}" for split, n in unknown.items() if n]
        return " + ".join([*parts, f"{rest:,}"] if rest or not parts else parts)


@dataclass(frozen=True)
class Workload:
    """The work of one stage in one iteration."""

    rows: Amount | None = None
    """Rows made; None if they are not proportional to problems (a policy, metrics)."""
    tokens: Amount | None = None
    """Maximum tokens sampled (generate, D_val in improve) or labelled in training."""
    engine_starts: int = 0
    chunked: Amount | None = None
    """What is committed chunk by chunk; None if all rows are one commit."""
    chunk_size: int = 1

    def commits(self, sizes: Sizes) -> int | None:
        """Commits of rows to the stage's table; None if the number of problems is not known."""
        if self.chunked is None:
            return 1
        total = self.chunked.total(sizes)
        return None if total is None else max(1, math.ceil(total / self.chunk_size))
