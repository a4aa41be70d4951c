"""Solutions per second: `math_answer` in a scoring pool compared with math-verify alone.

    python -m benchmarks.score_math [--pairs 100000] [--peer 2000] [--repeats 3] [--workers 2]

Pairs are made from MATH to resemble one iteration of sampling: 32 solutions per problem. A problem's
share of correct solutions is uniform between 0 and 1; correct ones state its answer, a fifth of them
in another spelling; wrong ones state one of up to eight wrong answers of the problem (a near miss or
the answer of another problem of the subject), with a frequency of 1/rank. The text before the answer
is the human solution's, so that every solution takes as long to read as a real one.

`math_answer` scores all pairs in a scoring pool with new workers; math-verify scores a random sample
of `--peer` pairs, one call per solution. They take turns, with another sample in each repeat. Printed
are both rates of each repeat, and how often the two agree on the pairs that both have scored.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import Counter, defaultdict

from benchmarks.answer_forms import EQUIVALENT, NEAR_MISS, written
from benchmarks.math_problems import Problem, math
from benchmarks.peer import math_verify_verdict
from pipelines.config import RewardConfig
from pipelines.rewards.answers import equality, structures
from pipelines.rewards.workers.pool import ScoringPool
from schemas.rewards import CORRECT

SAMPLES = 32
SEED = 0
Pair = tuple[str, str]


def main() -> None:
    """Make the pairs, score them both ways, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--peer", type=int, default=2_000, help="pairs for math-verify per repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parsed = parser.parse_args()
    pairs = make_pairs(parsed.pairs)
    answers = {(solution.rsplit("\\boxed{", 1)[1], reference) for solution, reference in pairs}
    print(
        f"{len(pairs):,} pairs, {len(set(pairs)):,} distinct, {len(answers):,} distinct answers; "
        f"{statistics.mean(len(solution) for solution, _ in pairs):.0f} characters per solution"
    )
    math_verify_verdict(
        "\\boxed{\\sqrt{4}}", "2"
    )  # its first call loads a parser, which is not timed
    choose, ours, theirs = random.Random(SEED), [], []
    for repeat in range(parsed.repeats):
        rate, verdicts = _our_rate(pairs, parsed.workers)
        chosen = choose.sample(range(len(pairs)), parsed.peer)
        peer_rate, peer_verdicts = _peer_rate([pairs[number] for number in chosen])
        ours.append(rate)
        theirs.append(peer_rate)
        print(f"{repeat}: math_answer {rate:,.0f}/s, math-verify {peer_rate:,.0f}/s")
        print(f"   {_agreement([verdicts[number] for number in chosen], peer_verdicts)}")
    _show(ours, theirs, parsed.workers)


def make_pairs(number: int) -> list[Pair]:
    """(solution, reference) pairs that resemble one iteration of sampling; always the same."""
    choose = random.Random(SEED)
    problems = [problem for problem in math() if problem.answer]
    subjects: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        subjects[problem.subject].append(problem.answer)
    chosen = choose.sample(problems, min(len(problems), -(-number // SAMPLES)))
    pairs = [pair for p in chosen for pair in _samples(p, subjects[p.subject], choose)]
    choose.shuffle(pairs)
    return pairs[:number]


def _samples(problem: Problem, subject: list[str], choose: random.Random) -> list[Pair]:
    rate = choose.random()
    wrong = _wrong_answers(problem, subject, choose)
    shares = [1 / rank for rank in range(1, len(wrong) + 1)]
    other = [text for _, text in written(problem.answer, EQUIVALENT)]
    before = problem.solution.rsplit("\\boxed", 1)[0]
    pairs = []
    for number in range(SAMPLES):
        if choose.random() < rate:
            answer = choose.choice(other) if choose.random() < 0.2 else problem.answer
        else:
            (answer,) = choose.choices(wrong, shares)
        text = f"Sample {number}. {before.replace(chr(92) + 'boxed', '')}\\boxed{{{answer}}}$."
        pairs.append((text, problem.answer))
    return pairs


def _wrong_answers(problem: Problem, subject: list[str], choose: random.Random) -> list[str]:
    near = [text for _, text in written(problem.answer, NEAR_MISS)]
    others = [text for text in choose.choices(subject, k=8) if text != problem.answer]
    wrong = [*choose.sample(near, min(4, len(near))), *others][:8]
    choose.shuffle(wrong)
    return wrong or ["0"]


def _our_rate(pairs: list[Pair], workers: int) -> tuple[float, list[str]]:
    equality._read.cache_clear()  # as in a new process
    structures.read_form.cache_clear()
    with ScoringPool(RewardConfig(), workers) as pool:
        start = time.perf_counter()
        scored = pool.score(pairs)
        seconds = time.perf_counter() - start
    return len(pairs) / seconds, [given.verdict.verdict for given in scored]


def _peer_rate(pairs: list[Pair]) -> tuple[float, list[str]]:
    start = time.perf_counter()
    verdicts = [math_verify_verdict(solution, reference) for solution, reference in pairs]
    return len(pairs) / (time.perf_counter() - start), verdicts


def _agreement(ours: list[str], theirs: list[str]) -> str:
    counts = Counter(zip((verdict == CORRECT for verdict in ours),
                         (verdict == CORRECT for verdict in theirs), strict=True))  # fmt: skip
    return (
        f"both correct {counts[True, True]:,}, neither {counts[False, False]:,}, "
        f"math_answer only {counts[True, False]:,}, math-verify only {counts[False, True]:,}"
    )


def _show(ours: list[float], theirs: list[float], workers: int) -> None:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"math_answer, {workers} workers: {_spread(ours)} solutions/s")
    print(f"math-verify: {_spread(theirs)} solutions/s")
    print(f"ratio: {_spread(ratios)}")


def _spread(values: list[float]) -> str:
    return f"median {statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"


if __name__ == "__main__":
    main()
