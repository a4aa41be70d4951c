"""What a run would do, from its configuration alone: nothing is read, opened or started."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config.published import PUBLISHED
from pipelines.config.suites import by_hand, suite_sources, suites_of
from schemas.problems import TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from pipelines.config import RunConfig, SourceConfig

Sizes = dict[str, int | None]
"""Split -> its number of problems; None if that is not known before the source is read."""

_BY_POLICY = ("render", "generate", "score", "evaluate")
_BY_UPDATE = ("select", "curate", "improve")
_TABLES = {
    "ingest": "problems",
    "contamination": "contamination",
    "base_policy": "policies",
    "render": "prompts",
    "generate": "samples",
    "score": "rewards",
    "evaluate": "evaluations",
    "select": "selections",
    "curate": "training_set",
    "improve": "policies",
}


@dataclass(frozen=True)
class Amount:
    """So many a problem of each split."""

    per_problem: dict[str, int]
    at_most: bool = False

    def times(self, factor: int) -> Amount:
        """Each multiplied by a factor."""
        return Amount({split: n * factor for split, n in self.per_problem.items()}, self.at_most)

    def total(self, sizes: Sizes) -> int | None:
        """The number in all; None if a split's size is not known."""
        total = 0
        for split, each in self.per_problem.items():
            size = sizes.get(split)
            if size is None and each:
                return None
            total += each * (size or 0)
        return total

    def formula(self, sizes: Sizes) -> str:
        """How it scales with the splits whose size is not known: `12 x train + 200`."""
        unknown = {split: n for split, n in self.per_problem.items() if sizes.get(split) is None}
        known = {split: n for split, n in self.per_problem.items() if split not in unknown}
        rest = Amount(known).total(sizes)
        parts = [f"{n:,} x {split}" for split, n in unknown.items() if n]
        return " + ".join([*parts, f"{rest:,}"] if rest or not parts else parts)


@dataclass(frozen=True)
class PlannedStage:
    """A stage that a run would make."""

    iteration: int
    stage: str
    table: str
    rows: Amount | None
    """None: not proportional to problems (a policy, some metrics)."""
    tokens: Amount | None
    """Tokens sampled (generate, D_val while improving) or labelled in training, at most."""
    engine_starts: int
    commits: int | None
    """Commits of rows to the stage's table; None if the number of problems is not known."""


def loop_stages(num_iterations: int, *, contamination: bool = False) -> list[tuple[int, str]]:
    """(iteration, stage) of every stage of a run, in the loop's order.

    Args:
        num_iterations: I.
        contamination: whether the run looks for test problems among the training problems.
    """
    looked_for = [(0, "contamination")] if contamination else []
    stages = [(0, "ingest"), *looked_for, (0, "base_policy")]
    for t in range(num_iterations + 1):
        stages += [(t, stage) for stage in _BY_POLICY]
        if t < num_iterations:
            stages += [(t + 1, stage) for stage in _BY_UPDATE]
    return stages


def plan(config: RunConfig) -> list[PlannedStage]:
    """The stages of a run with their rows, tokens, engine starts and commits."""
    stages = loop_stages(
        config.num_iterations, contamination=config.problems.contamination is not None
    )
    return [_planned(config, t, stage) for t, stage in stages]


def problem_sizes(config: RunConfig) -> Sizes:
    """Problems of each split, as far as the configuration tells."""
    sizes: Sizes = {TRAIN: 0, VALIDATION: 0, TEST: 0}
    for suite, source in suite_sources(config):
        sizes[suite] = _stated_size(source)
    unsplit: int | None = 0
    for source in config.problems.sources:
        size = _stated_size(source)
        if source.split_field is not None and source.kind not in PUBLISHED:
            return dict.fromkeys(sizes)
        if source.split is not None:
            sizes[source.split] = _plus(sizes.get(source.split, 0), size)
        else:
            unsplit = _plus(unsplit, size)
    return _share_out(config, sizes, unsplit)


def _share_out(config: RunConfig, sizes: Sizes, unsplit: int | None) -> Sizes:
    """Problems without a split are D_val and test by hash, the rest is for training."""
    held_out = {VALIDATION: config.problems.num_validation, TEST: config.problems.num_test}
    if unsplit == 0:
        return sizes
    for split, number in held_out.items():
        sizes[split] = _plus(sizes[split], number)
    left = None if unsplit is None else max(unsplit - sum(held_out.values()), 0)
    train = _plus(sizes[TRAIN], left)
    most = config.problems.max_train
    sizes[TRAIN] = min(train, most) if train is not None and most is not None else train
    return sizes


def _plus(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def asked_sizes(config: RunConfig) -> Sizes:
    """Problems of each purpose: of each split, and of suites that share another's problems."""
    sizes = problem_sizes(config)
    return sizes | {suite.name: sizes.get(suite.split) for suite in suites_of(config)}


def _stated_size(source: SourceConfig) -> int | None:
    """The number of problems that a source is known to have, or may have at most.

    Duplicates that are left out are not known.
    """
    size = source.options.get("size")
    if source.kind in PUBLISHED:
        size = _published_size(source)
    elif source.kind not in ("generator", "reasoning_gym"):
        size = None
    most = source.max_problems
    if not isinstance(size, int):
        return most
    return size if most is None else min(size, most)


def _published_size(source: SourceConfig) -> int | None:
    """A published split's size; None where only some of its problems are asked for."""
    known = PUBLISHED[source.kind]
    if any(name in source.options for name in (*known.filters, "name", "data_files")):
        return None
    split = source.options.get("split") or source.split or TRAIN
    return known.sizes.get(split)


def _planned(config: RunConfig, iteration: int, stage: str) -> PlannedStage:
    sizes = asked_sizes(config)
    rows = _rows(config, iteration, stage, list(sizes))
    return PlannedStage(
        iteration,
        stage,
        _TABLES[stage],
        rows,
        _tokens(config, stage, rows),
        config.engine.replicas if stage == "generate" else 0,
        _commits(config, iteration, stage, rows, sizes),
    )


def _asked(config: RunConfig, iteration: int, splits: list[str]) -> dict[str, list[int]]:
    """Split -> solutions drawn for each prompt of one of its problems."""
    from pipelines.stages.render import draws

    ways = draws(config, iteration)
    return {
        split: [draw.decoding.num_samples for draw in ways.get(split, ways[""])] for split in splits
    }


def _num_samples(config: RunConfig) -> int:
    return config.sampling.num_samples_per_problem


def _rows(config: RunConfig, iteration: int, stage: str, splits: list[str]) -> Amount | None:
    kept = min(config.curate.cutoff, _num_samples(config))
    asked = _asked(config, iteration, splits)
    drawn = {split: sum(numbers) for split, numbers in asked.items()}
    graded = by_hand(config)
    amounts = {
        "ingest": Amount(dict.fromkeys(problem_sizes(config), 1)),
        "render": Amount({split: len(numbers) for split, numbers in asked.items()}),
        "generate": Amount(drawn),
        "score": Amount({name: 0 if name in graded else n for name, n in drawn.items()}),
        "select": Amount({TRAIN: _num_samples(config)}),
        "curate": Amount({TRAIN: kept}, at_most=True),
    }
    return amounts.get(stage)


def _tokens(config: RunConfig, stage: str, rows: Amount | None) -> Amount | None:
    longest = config.sampling.max_tokens
    if stage == "generate" and rows is not None:
        own = {suite.name: suite.max_tokens for suite in suites_of(config)}
        tokens = {name: n * own.get(name, longest) for name, n in rows.per_problem.items()}
        return Amount(tokens, at_most=True)
    if stage == "improve":
        kept = min(config.curate.cutoff, _num_samples(config))
        each = longest * config.improve.max_epochs
        return Amount({TRAIN: kept * each, VALIDATION: each}, at_most=True)
    return None


def _commits(
    config: RunConfig, iteration: int, stage: str, rows: Amount | None, sizes: Sizes
) -> int | None:
    if stage not in ("generate", "score"):
        return 1
    from pipelines.stages.score import CHUNK_SAMPLES

    if stage == "score":
        total, chunk = (rows.total(sizes) if rows else None), CHUNK_SAMPLES
    else:
        prompts = _rows(config, iteration, "render", list(sizes))
        total, chunk = (prompts.total(sizes) if prompts else None), config.engine.prompts_per_commit
    return None if total is None else max(1, math.ceil(total / chunk))
