"""Rescore: score stored samples again with a new version of their verifier; no engine, no GPU.

The new verdicts are a new attempt of the `score` stage: one commit replaces an iteration's rows in
`rewards`, and the version before stays readable. What was made from it is not made again: sealed
`selections`, `training_set`, `policies` and `evaluations` stay pinned to the version that they read,
which their seals name; this module reports what would be different in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.errors import ConfigError, LakeError
from pipelines.lake.lake import Lake
from pipelines.lake.snapshot import TableSnapshot
from pipelines.scoring.score_chunks import Verifier, scored_chunks, to_score
from pipelines.scoring.shares import FilteredSnapshot, Share, shares_of
from pipelines.stage import ArrowStage, Engine, Snapshot, StageContext
from pipelines.stages.score import score
from pipelines.stages.select_samples import select_samples
from schemas import PROBLEMS, PROMPTS, REWARDS, SAMPLES, SELECTIONS
from schemas.rewards import REWARD
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.query_results import Row

EXAMPLES = 3
"""Examples kept of each change."""
_REWARD = ("sample_id", "reward")
Verifiers = list[tuple[Share, Verifier]]
"""The samples divided by the verifier that scores them."""


@dataclass(frozen=True)
class Change:
    """Samples whose verdict changed from one to another, with some examples."""

    before: str
    after: str
    count: int
    examples: list[Row]
    """`sample_id`, `question`, `reference`, `solution`, `extracted_before` and `extracted_after`."""


@dataclass(frozen=True)
class TrainingSetChange:
    """Rows that the next training set would gain and lose if it were selected by the new verdicts."""

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
    """One iteration's verdicts by the old and the new version of the verifier."""

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
    """Scores a run's stored samples again.

    Args:
        config: the run's.
        lake: its tables.
        context: progress; Ray if the samples are many; Spark if a reward changed and the selection
            is made again.
    """

    config: RunConfig
    lake: Lake
    context: StageContext

    def rescore(self, *, dry_run: bool) -> Iterator[Rescored]:
        """Every iteration whose verdicts are not the verifier's current version's, one by one.

        A `score` that was stopped before its seal is finished: its verdicts of another version, and
        those on which the reward failed, are made again.

        Args:
            dry_run: only compare; nothing is written.

        Raises:
            ConfigError: the reward can no longer be used.
            LakeError: no iteration of the run has verdicts.
            ExpectationsFailed: the new verdicts break a critical expectation; they are not
                committed, and the version before stays the one that readers see.
        """
        verifiers = verifiers_of(self.config)
        iterations = range(self.config.num_iterations + 1)
        scored = [i for i in iterations if self._has_verdicts(i)]
        if not scored:
            raise LakeError(
                f"run {self.config.name!r} has no verdicts yet; let `restem run` or `restem stage "
                "score` make some first"
            )
        for iteration in scored:
            sealed = self.lake.sealed(REWARDS, iteration, "score")
            if sealed is None or not _is_of(sealed, verifiers):
                yield self._rescore(iteration, verifiers, dry_run=dry_run)

    def _has_verdicts(self, iteration: int) -> bool:
        return (
            self.lake.is_sealed(iteration, "generate")
            and self.lake.latest_snapshot(REWARDS, iteration).count() > 0
        )

    def _rescore(self, iteration: int, verifiers: Verifiers, *, dry_run: bool) -> Rescored:
        sealed = self.lake.sealed(REWARDS, iteration, "score")
        before = sealed or self.lake.latest_snapshot(REWARDS, iteration)
        samples = self._sealed(SAMPLES, iteration, "generate")
        prompts = self._sealed(PROMPTS, iteration, "render")
        stage = rescoring(verifiers)
        after: TableSnapshot | None = None
        if dry_run:
            verdicts = stage.function(self.context, samples, prompts)
        else:
            if sealed is not None:
                after = self.lake.remake(stage, iteration, samples, prompts)
            else:
                unfinished = score(self.config, iteration)
                after = self.lake.materialize(unfinished, iteration, samples, prompts)
            while not _is_of(after, verifiers):  # a killed attempt was sealed first
                after = self.lake.remake(stage, iteration, samples, prompts)
            verdicts = after.arrow()
        verdicts = _own(verdicts)
        moved = moved_verdicts(_own(before.arrow()), verdicts)
        return Rescored(
            iteration=iteration,
            num_samples=verdicts.num_rows,
            versions_before=_versions(before),
            version=", ".join(sorted({verifier.version for _, verifier in verifiers})),
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
        """The samples that the `select` stage would keep by the new verdicts."""
        session = self.context.engines.spark()
        scored = session.createDataFrame(
            verdicts.select(["sample_id", "role", "reward", "verdict"])
        )
        selected = select_samples(
            samples.spark(session),
            scored,
            self.config.curate,
            self.config.seed,
            self.config.model.max_model_len,
        )
        kept = selected.where("kept").orderBy("sample_id")
        rows: list[Row] = kept.select("sample_id", "problem_id", "reward").toArrow().to_pylist()
        return rows

    def _sealed(self, table: Table, iteration: int, stage: str) -> TableSnapshot:
        found = self.lake.sealed(table, iteration, stage)
        assert found is not None, f"{stage} of iteration {iteration} is not sealed"
        return found


def verifiers_of(config: RunConfig) -> Verifiers:
    """The verifiers of the run and of suites with a reward of their own, each with its samples.

    Raises:
        ConfigError: a reward can no longer be used.
    """
    if config.curate.majority_vote:
        raise ConfigError(
            f"run {config.name!r} rewards its training samples by majority vote, which no verifier "
            "decides; rescore scores runs whose samples are compared with references"
        )
    return [(share, Verifier.of(share.reward, share.role)) for share in shares_of(config)]


def rescoring(verifiers: Verifiers) -> ArrowStage:
    """The `score` stage over all samples of an iteration, its verdicts in memory.

    They are committed at once, so that no reader sees two versions of a verifier side by side: a
    few hundred bytes per sample in the driver's memory.
    """

    def score_again(context: StageContext, samples: Snapshot, prompts: Snapshot) -> pa.Table:
        import pyarrow as pa

        made = []
        for share, verifier in verifiers:
            rows = to_score(FilteredSnapshot(samples, share.condition), prompts)
            chunks = scored_chunks(rows, verifier, _unchanged, context, share.task)
            made += [chunk.made for chunk in chunks]
        return pa.concat_tables(made)

    return ArrowStage(
        name="score",
        table=REWARDS,
        reads=(SAMPLES, PROMPTS),
        function=score_again,
        engine=Engine.RAY,
    )


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


def _own(rewards: pa.Table) -> pa.Table:
    """The verdicts that the run goes by: those of further verifiers change nothing in it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return rewards.filter(pc.equal(rewards["role"], pa.scalar(REWARD)))


def _unchanged(rows: pa.Table) -> pa.Table:
    return rows


def _versions(rewards: TableSnapshot) -> list[str]:
    rows = rewards.arrow(["verifier_version"]).to_pylist()
    return sorted({row["verifier_version"] for row in rows})


def _is_of(rewards: TableSnapshot, verifiers: Verifiers) -> bool:
    names = rewards.arrow(["verifier", "verifier_version"]).to_pylist()
    given = {(row["verifier"], row["verifier_version"]) for row in names}
    return given <= {(verifier.name, verifier.version) for _, verifier in verifiers}


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
