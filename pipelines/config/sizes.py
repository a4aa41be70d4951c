"""Number of problems per split, as far as the configuration alone determines it."""

from __future__ import annotations

from pipelines.config import ProblemsConfig, RunConfig, SourceConfig
from pipelines.config.published import PUBLISHED
from pipelines.config.suites import suite_sources, suites_of
from schemas.problems import TEST, TRAIN, VALIDATION

Sizes = dict[str, int | None]
"""Split -> number of problems; None if it is unknown until the source is read.

Duplicates are counted: which of them `problems.duplicates` drops is unknown until then.
"""


def problem_sizes(config: RunConfig) -> Sizes:
    """Number of problems per split; a suite with a source of its own is a split."""
    sizes: Sizes = {TRAIN: 0, VALIDATION: 0, TEST: 0}
    for suite, source in suite_sources(config):
        sizes[suite] = _stated_size(source)
    unsplit: int | None = 0
    for source in config.problems.sources:
        if source.split_field is not None and source.kind not in PUBLISHED:
            return dict.fromkeys(sizes)
        size = _stated_size(source)
        if source.split is None:
            unsplit = _sum(unsplit, size)
        else:
            sizes[source.split] = _sum(sizes.get(source.split, 0), size)
    if unsplit != 0:
        sizes |= _split_by_hash(config.problems, sizes, unsplit)
    train, maximum = sizes[TRAIN], config.problems.max_train
    return sizes | {TRAIN: train if train is None or maximum is None else min(train, maximum)}


def asked_sizes(config: RunConfig) -> Sizes:
    """Number of problems per purpose: the splits, and the suites that ask another's problems."""
    sizes = problem_sizes(config)
    train, batch = sizes[TRAIN], config.sampling.problems_per_iteration
    if batch is not None:
        sizes |= {TRAIN: batch if train is None else min(train, batch)}
    return sizes | {suite.name: sizes.get(suite.split) for suite in suites_of(config)}


def _split_by_hash(problems: ProblemsConfig, sizes: Sizes, unsplit: int | None) -> Sizes:
    """The splits after the problems without one are added: D_val and test first, then training."""
    held_out = problems.num_validation + problems.num_test
    left = None if unsplit is None else max(unsplit - held_out, 0)
    return {
        TRAIN: _sum(sizes[TRAIN], left),
        VALIDATION: _sum(sizes[VALIDATION], problems.num_validation),
        TEST: _sum(sizes[TEST], problems.num_test),
    }


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _stated_size(source: SourceConfig) -> int | None:
    """Number of problems of a source, or else its `max_problems`; None if neither is known."""
    size: object = None
    if source.kind in PUBLISHED:
        known = PUBLISHED[source.kind]
        # With these options only some of the split's problems are read.
        if not any(name in source.options for name in (*known.filters, "name", "data_files")):
            size = known.sizes.get(source.options.get("split") or source.split or TRAIN)
    elif source.kind in ("generator", "reasoning_gym"):
        size = source.options.get("size")
    if not isinstance(size, int):
        return source.max_problems
    return size if source.max_problems is None else min(size, source.max_problems)
