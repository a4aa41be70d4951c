"""Rescore: stored samples judged again by a new version of their verifier; no engine, no GPU.

The new verdicts are a new attempt of the `score` stage: one commit replaces an iteration's rows in
`rewards`, and the version before stays readable. What was made from it is not made again.
`selections`, `training_set`, `policies` and `evaluations` that are sealed stay pinned to the version
that they read, which their seals name; this module says what would be different in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.config import RunConfig
from pipelines.errors import LakeError
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runtime.progress import Progress
from pipelines.scoring.shares import Only, Share, add_measures, shares_of
from pipelines.stage import ArrowStage, Snapshot
from pipelines.stages.curate import select_samples
from pipelines.stages.score import Verifier, scored_chunks, to_score
from schemas import PROBLEMS, PROMPTS, REWARDS, SAMPLES, SELECTIONS
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

EXAMPLES = 3
"""Examples kept of each change."""
_REWARD = ("sample_id", "reward")
Row = dict[str, Any]
Judges = list[tuple[Share, Verifier]]
"""The samples parted by who judges them."""


class SealedTables(Protocol):
    """A run's tables: `pipelines.lake.lake.Lake`."""

    def sealed(self, table: Table, iteration: int, stage: str) -> TableSnapshot | None:
        """A stage's table at its sealed version; None if it is not sealed."""

    def remake(
        self, table: Table, iteration: int, stage: ArrowStage, *inputs: TableSnapshot
    ) -> TableSnapshot:
        """A new attempt of a sealed stage."""


@dataclass(frozen=True)
class Change:
    """Samples whose verdict went from one to another, with a few of them."""

    before: str
    after: str
    count: int
    examples: list[Row]
    """`sample_id`, `question`, `reference`, `solution`, `extracted_before` and `extracted_after`."""


@dataclass(frozen=True)
class TrainingSetChange:
    """What the next training set would gain and lose, were it selected by the new verdicts."""

    iteration: int
    kept: int
    """Rows it has."""
    entering: list[Row]
    leaving: list[Row]
    """`sample_id`, `problem_id`, `solution`."""
    reweighted: int
    """Rows that stay with another reward."""


@dataclass(frozen=True)
class Rescored:
    """One iteration's verdicts by the version before and by the new one."""

    iteration: int
    num_samples: int
    versions_before: list[str]
    version: str
    table_before: int
    """Version of `rewards` that holds the verdicts of before."""
    table_after: int | None
    """Version that holds the new ones; None in a dry run."""
    changes: list[Change]
    training_set: TrainingSetChange | None
    """None if none was selected from these samples."""


@dataclass(frozen=True)
class Rescorer:
    """Judges a run's stored samples again.

    Args:
        config: the run's.
        lake: its tables.
        progress: told the samples scored.
        spark: the session in which a selection is made again; asked for only if a reward changed.
        start_ray: connects to Ray; called if the samples are many.
    """

    config: RunConfig
    lake: SealedTables
    progress: Progress
    spark: Callable[[], SparkSession]
    start_ray: Callable[[], None]

    def rescore(self, *, dry_run: bool) -> Iterator[Rescored]:
        """Every scored iteration that the verifier's present version did not judge, one at a time.

        Args:
            dry_run: only compare; nothing is written.

        Raises:
            ConfigError: the reward cannot be used any more.
            LakeError: no iteration of the run is scored.
            ExpectationsFailed: the new verdicts break a critical expectation; they are not
                committed, and the version before stays the one that readers see.
        """
        judges = judges_of(self.config)
        iterations = range(self.config.num_iterations + 1)
        scored = [i for i in iterations if self.lake.sealed(REWARDS, i, "score") is not None]
        if not scored:
            raise LakeError(
                f"run {self.config.name!r} has no iteration that is scored to its end; "
                "let `restem run` or `restem stage score` finish one first"
            )
        for iteration in scored:
            if not _is_of(self._sealed(REWARDS, iteration, "score"), judges):
                yield self._rescore(iteration, judges, dry_run=dry_run)

    def _rescore(self, iteration: int, judges: Judges, *, dry_run: bool) -> Rescored:
        before = self._sealed(REWARDS, iteration, "score")
        samples = self._sealed(SAMPLES, iteration, "generate")
        prompts = self._sealed(PROMPTS, iteration, "render")
        stage = rescoring(judges, self.progress, self.start_ray)
        after: TableSnapshot | None = None
        if dry_run:
            verdicts = stage.function(samples, prompts)
        else:
            after = self.lake.remake(REWARDS, iteration, stage, samples, prompts)
            while not _is_of(after, judges):  # what was sealed is an attempt that had been killed
                after = self.lake.remake(REWARDS, iteration, stage, samples, prompts)
            verdicts = after.arrow()
        moved = moved_verdicts(before.arrow(), verdicts)
        return Rescored(
            iteration=iteration,
            num_samples=verdicts.num_rows,
            versions_before=_versions(before),
            version=", ".join(sorted({verifier.version for _, verifier in judges})),
            table_before=before.version,
            table_after=None if after is None else after.version,
            changes=self._changes(moved, samples, prompts),
            training_set=self._training_set(iteration + 1, samples, verdicts),
        )

    def _changes(self, moved: list[Row], samples: Snapshot, prompts: Snapshot) -> list[Change]:
        questions = self._sealed(PROBLEMS, 0, "ingest").arrow(["problem_id", "question"])
        asked = {row["problem_id"]: row["question"] for row in questions.to_pylist()}
        counts = Counter((row["before"], row["after"]) for row in moved)
        shown = {kind: [row for row in moved if _kind(row) == kind][:EXAMPLES] for kind in counts}
        texts = _texts(to_score(samples, prompts), shown)
        return [
            Change(
                before, after, count, [_example(row, texts, asked) for row in shown[before, after]]
            )
            for (before, after), count in counts.most_common()
        ]

    def _training_set(
        self, iteration: int, samples: TableSnapshot, verdicts: pa.Table
    ) -> TrainingSetChange | None:
        selections = self.lake.sealed(SELECTIONS, iteration, "select")
        if selections is None:
            return None
        considered = selections.arrow(["sample_id", "problem_id", "reward", "kept"]).to_pylist()
        kept = {row["sample_id"]: row for row in considered if row["kept"]}
        rewards = dict(zip(*(verdicts[name].to_pylist() for name in _REWARD), strict=True))
        if all(rewards[row["sample_id"]] == row["reward"] for row in considered):
            return TrainingSetChange(iteration, len(kept), [], [], 0)
        chosen = {row["sample_id"]: row for row in self._select(samples, verdicts)}
        entering = [row for name, row in chosen.items() if name not in kept]
        leaving = [row for name, row in kept.items() if name not in chosen]
        reweighted = sum(
            chosen[name]["reward"] != row["reward"] for name, row in kept.items() if name in chosen
        )
        texts = _solutions(samples, [*entering, *leaving])
        return TrainingSetChange(
            iteration,
            len(kept),
            [{**row, "solution": texts[row["sample_id"]]} for row in entering],
            [{**row, "solution": texts[row["sample_id"]]} for row in leaving],
            reweighted,
        )

    def _select(self, samples: TableSnapshot, verdicts: pa.Table) -> list[Row]:
        """What the `select` stage keeps of the new verdicts: its own function, in Spark."""
        session = self.spark()
        judged = session.createDataFrame(verdicts.select(["sample_id", "reward", "verdict"]))
        select = select_samples(self.config.curate, self.config.seed).function
        selected = select(samples.spark(session), judged).where("kept").orderBy("sample_id")
        rows: list[Row] = selected.select("sample_id", "problem_id", "reward").toArrow().to_pylist()
        return rows

    def _sealed(self, table: Table, iteration: int, stage: str) -> TableSnapshot:
        found = self.lake.sealed(table, iteration, stage)
        assert found is not None, f"{stage} of iteration {iteration} is not sealed"
        return found


def judges_of(config: RunConfig) -> Judges:
    """The run's verifier, and those of suites with a reward of their own, each with its share.

    Raises:
        ConfigError: a reward cannot be used any more.
    """
    return [(share, Verifier.of(share.config.reward)) for share in shares_of(config)]


def rescoring(judges: Judges, progress: Progress, start_ray: Callable[[], None]) -> ArrowStage:
    """The `score` stage over all samples of an iteration, its verdicts in memory.

    They are committed at once, so that no reader sees two versions of a verifier side by side: a
    few hundred bytes a sample in the driver's memory.
    """
    measures: dict[str, float] = {}

    def give_verdicts(samples: Snapshot, prompts: Snapshot) -> pa.Table:
        import pyarrow as pa

        made = []
        for share, verifier in judges:
            own: dict[str, float] = {}
            rows = to_score(Only(samples, share.condition), prompts)
            chunks = scored_chunks(rows, verifier, _as_it_is, progress, own, start_ray, share.task)
            made += [chunk.made for chunk in chunks]
            add_measures(measures, own)
        return pa.concat_tables(made)

    return ArrowStage("score", give_verdicts, measures)


def moved_verdicts(before: pa.Table, after: pa.Table) -> list[Row]:
    """The samples whose verdict or reward differ, in the order of their ids, a hash.

    Args:
        before: rows of `rewards`.
        after: rows of `rewards` of the same samples, in any order.

    Returns:
        Rows of `sample_id`, `before`, `after` (the verdicts), `reward_before`, `reward`,
        `extracted_before` and `extracted_after`.
    """
    import pyarrow.compute as pc

    place = pc.index_in(before["sample_id"], value_set=after["sample_id"].combine_chunks())
    assert place.null_count == 0, f"{place.null_count} samples have no new verdict"
    now = after.take(place)
    same = pc.and_(
        pc.equal(before["verdict"], now["verdict"]), pc.equal(before["reward"], now["reward"])
    )
    moved = pc.invert(same)
    old, new = before.filter(moved).to_pylist(), now.filter(moved).to_pylist()
    rows = [
        {
            "sample_id": then["sample_id"],
            "problem_id": then["problem_id"],
            "before": then["verdict"],
            "after": given["verdict"],
            "reward_before": then["reward"],
            "reward": given["reward"],
            "extracted_before": then["extracted"],
            "extracted_after": given["extracted"],
        }
        for then, given in zip(old, new, strict=True)
    ]
    return sorted(rows, key=lambda row: str(row["sample_id"]))


def _as_it_is(rows: pa.Table) -> pa.Table:
    return rows


def _versions(rewards: TableSnapshot) -> list[str]:
    return sorted(set(rewards.arrow(["verifier_version"])["verifier_version"].to_pylist()))


def _is_of(rewards: TableSnapshot, judges: Judges) -> bool:
    names = rewards.arrow(["verifier", "verifier_version"]).to_pylist()
    given = {(row["verifier"], row["verifier_version"]) for row in names}
    return given <= {(verifier.name, verifier.version) for _, verifier in judges}


def _kind(row: Row) -> tuple[str, str]:
    return row["before"], row["after"]


def _texts(rows: pa.Table, shown: dict[tuple[str, str], list[Row]]) -> dict[str, Row]:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array([row["sample_id"] for some in shown.values() for row in some], pa.string())
    found = rows.filter(pc.is_in(rows["sample_id"], value_set=ids))
    texts = found.select(["sample_id", "reference", "solution"]).to_pylist()
    return {row["sample_id"]: row for row in texts}


def _example(row: Row, texts: dict[str, Row], asked: dict[str, str]) -> Row:
    return {
        "question": asked[row["problem_id"]],
        **texts[row["sample_id"]],
        "extracted_before": row["extracted_before"],
        "extracted_after": row["extracted_after"],
    }


def _solutions(samples: Snapshot, rows: list[Row]) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    drawn = samples.arrow(["sample_id", "solution"])
    ids = pa.array([row["sample_id"] for row in rows], pa.string())
    found = drawn.filter(pc.is_in(drawn["sample_id"], value_set=ids)).to_pylist()
    return {row["sample_id"]: row["solution"] for row in found}
