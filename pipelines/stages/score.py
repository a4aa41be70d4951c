"""Score: a verdict for every sample (the E-step's reward).

Each suite's samples are scored by the suite's own reward, all others by the run's; where further
verifiers are configured (`evaluation.verifiers`), each of them gives a verdict too. Samples whose
verdict is already committed are left out, so a stage that was stopped goes on where it was; verdicts
of another version of the reward, and those on which it failed, are made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipelines.config import RunConfig
from pipelines.config.draws import covered, num_drawn
from pipelines.config.sizes import asked_sizes
from pipelines.config.suites import by_hand, verifiers_by_split
from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.scoring import majority_vote
from pipelines.scoring.score_chunks import (
    CHUNK_SAMPLES,
    Verifier,
    obsolete,
    pending,
    scored_chunks,
    without_verdict,
)
from pipelines.scoring.shares import MAJORITY_VOTE, FilteredSnapshot, Share, shares_of
from pipelines.scoring.taken import taken_verdicts
from pipelines.stage import FileWriter, Snapshot, StageContext, StreamStage, WrittenFile
from pipelines.workload import Amount, Workload
from schemas import PROMPTS, REWARDS, SAMPLES
from schemas.prompts import HINTED


def score(config: RunConfig, iteration: int) -> StreamStage:
    """The stage that makes `rewards` of `samples` and `prompts`.

    Raises (in the stage):
        ConfigError: a reward cannot be used as it is configured.
    """

    def score_samples(
        context: StageContext,
        samples: Snapshot,
        prompts: Snapshot,
        *,
        committed: Snapshot,
        writer: FileWriter,
    ) -> Iterator[list[WrittenFile]]:
        for share, verifier in verifiers_of(config):
            drawn = FilteredSnapshot(samples, share.condition)
            rows = pending(drawn, prompts, committed, verifier.name)
            if share.by_vote:
                yield from majority_vote.voted_chunks(rows, verifier, writer, context)
                continue
            for verdicts in taken_verdicts(rows, verifier, context):
                taken = context.measures.get("verdicts_taken", 0.0)
                context.measures["verdicts_taken"] = taken + verdicts.num_rows
                rows = without_verdict(rows, verdicts)
                yield [writer.write(verdicts)]
            for chunk in scored_chunks(rows, verifier, writer.write, context, share.task):
                yield [chunk.made]

    graded, further = by_hand(config), verifiers_by_split(config)
    drawn = num_drawn(config, iteration, list(asked_sizes(config)))
    verdicts = {
        purpose: 0 if purpose in graded else 1 + len(further.get(purpose, ())) for purpose in drawn
    }
    rows = Amount({purpose: verdicts[purpose] * sum(n) for purpose, n in drawn.items()})
    return StreamStage(
        name="score",
        table=REWARDS,
        obsolete=lambda *_: obsolete([verifier for _, verifier in verifiers_of(config)]),
        reads=(SAMPLES, PROMPTS),
        function=score_samples,
        workload=Workload(rows, chunked=rows, chunk_size=CHUNK_SAMPLES),
        covers=covered(config, iteration),
    )


def obsolete_among_hinted(config: RunConfig, samples: Snapshot, _: Snapshot) -> str:
    """The SQL condition on verdicts that are made again: of samples drawn with a hint alone."""
    hinted = samples.arrow(["sample_id"], f"decoding = {sql_literal(HINTED)}")
    names = [str(name) for name in hinted["sample_id"].to_pylist()]
    if not names:
        return "false"
    of_verifiers = obsolete([verifier for _, verifier in verifiers_of(config)])
    return f"({of_verifiers}) AND sample_id IN {sql_list(names)}"


def verifiers_of(config: RunConfig) -> list[tuple[Share, Verifier]]:
    """What scores the samples of each share.

    Raises:
        ConfigError: a reward cannot be used as it is configured.
    """
    found = []
    for share in shares_of(config):
        verifier = Verifier.of(share.reward, share.role)
        if share.by_vote:
            majority_vote.voting(share.reward)
            version = f"{majority_vote.VERSION}/{verifier.version}"
            verifier = replace(verifier, name=MAJORITY_VOTE, version=version)
        found.append((share, verifier))
    return found
