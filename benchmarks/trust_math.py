"""Error rates of `math_answer`: false negatives, false positives, differences from math-verify.

    python -m benchmarks.trust_math [--peer 3000] [--differences FILE.tsv] [--workers 2]

Reads the public MATH, MATH-500 and GSM8K files (RESTEM_TEST_DATA). Scores

- every human solution against its own answer: failures are listed by name;
- other spellings of every MATH answer (`benchmarks/answer_forms.py`): `wrong` is a false negative;
- near misses of every MATH answer: `correct` is a false positive;
- the formulas of each MATH question as its answer, which repeat the question;
- answers of other problems of the same subject.

`--peer N` also scores N random pairs of each kind with math-verify and counts the differences;
`--differences` writes them to a file.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answer_forms import EQUIVALENT, NEAR_MISS, Rule, written
from benchmarks.math_problems import Problem, gsm8k, math, math_500
from benchmarks.peer import math_verify_verdict
from pipelines.config import RewardConfig
from pipelines.rewards.workers.pool import ScoringPool
from schemas.rewards import CORRECT

SEED = 0
_FORMULA = re.compile(r"\$([^$]+)\$")


@dataclass(frozen=True)
class Case:
    """A solution to score, and the rule that made its answer."""

    rule: str
    name: str
    solution: str
    reference: str
    question: str


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=int, default=0, help="pairs per kind for math-verify")
    parser.add_argument("--differences", type=Path, help="file for the differences")
    parser.add_argument("--workers", type=int, default=2)
    parsed = parser.parse_args()
    problems = math()
    kinds = {
        "equivalent": _rewritten(problems, EQUIVALENT),
        "near miss": _rewritten(problems, NEAR_MISS),
        "echo of the question": _echoes(problems),
        "another problem's answer": _others(problems),
    }
    lines: list[str] = []
    last = RewardConfig(options={"several_boxes": "last"})
    with ScoringPool(last, parsed.workers) as pool:
        _show_own("MATH, the last of several boxes", problems, pool)
    with ScoringPool(RewardConfig(), parsed.workers) as pool:
        for name, own in (("MATH", problems), ("MATH-500", math_500()), ("GSM8K", gsm8k())):
            _show_own(name, own, pool)
        for kind, cases in kinds.items():
            verdicts = _score(cases, pool)
            _show_kind(kind, cases, verdicts)
            lines += _compare(kind, cases, verdicts, parsed.peer)
    if parsed.differences:
        parsed.differences.write_text("".join(lines))


def _score(cases: list[Case], pool: ScoringPool) -> list[str]:
    pairs = [(case.solution, case.reference) for case in cases]
    scored = pool.score(pairs, [case.question for case in cases])
    return [given.verdict.verdict for given in scored]


def _rewritten(problems: list[Problem], rules: dict[str, Rule]) -> list[Case]:
    return [
        Case(rule, problem.name, _boxed(text), problem.answer, problem.question)
        for problem in problems
        if problem.answer
        for rule, text in written(problem.answer, rules)
    ]


def _echoes(problems: list[Problem]) -> list[Case]:
    """Each formula of a question except numbers, names and the reference."""
    return [
        Case("formula", problem.name, _boxed(formula), problem.answer, problem.question)
        for problem in problems
        if problem.answer
        for formula in dict.fromkeys(_FORMULA.findall(problem.question))
        if _is_to_be_worked_out(formula, problem.answer)
    ]


def _is_to_be_worked_out(formula: str, answer: str) -> bool:
    bare = re.sub(r"\s|\\[dt]frac|\\displaystyle|[.,{}]", "", formula)
    stated = re.sub(r"\s|\\[dt]frac|[.,{}]", "", answer)
    return (
        len(bare) > 3 and "=" not in bare and bare != stated and not re.fullmatch("-?[0-9/]+", bare)
    )


def _others(problems: list[Problem]) -> list[Case]:
    choose = random.Random(SEED)
    by_subject: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        if problem.answer:
            by_subject[problem.subject].append(problem.answer)
    return [
        Case(problem.subject, problem.name, _boxed(text), problem.answer, problem.question)
        for problem in problems
        if problem.answer
        for text in choose.choices(by_subject[problem.subject], k=4)
    ]


def _boxed(text: str) -> str:
    return rf"So the answer is $\boxed{{{text}}}$."


def _show_own(name: str, problems: list[Problem], pool: ScoringPool) -> None:
    cases = [Case("own", p.name, p.solution, p.answer, p.question) for p in problems]
    verdicts = _score(cases, pool)
    print(f"\n{name}: {len(cases):,} human solutions against their own answers: {_tally(verdicts)}")
    for case, verdict in zip(cases, verdicts, strict=True):
        if verdict != CORRECT:
            print(f"  {case.name}: {verdict} (reference {case.reference!r})")


def _show_kind(kind: str, cases: list[Case], verdicts: list[str]) -> None:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for case, verdict in zip(cases, verdicts, strict=True):
        found[case.rule][verdict] += 1
    print(f"\n{kind}: {len(cases):,} pairs: {_tally(verdicts)}")
    for rule, counts in found.items():
        print(f"  {rule:32} {_tally(counts.elements())}")


def _tally(verdicts: Iterable[str]) -> str:
    counts = Counter(verdicts)
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def _compare(kind: str, cases: list[Case], verdicts: list[str], number: int) -> list[str]:
    """Score a random sample with math-verify and print the counts; one line per difference."""
    if not number:
        return []
    pairs = list(zip(cases, verdicts, strict=True))
    chosen = random.Random(SEED).sample(pairs, min(number, len(pairs)))
    counts: Counter[tuple[str, str]] = Counter()
    lines = []
    for case, verdict in chosen:
        peer = math_verify_verdict(case.solution, case.reference)
        ours = CORRECT if verdict == CORRECT else "not correct"
        counts[ours, peer] += 1
        if (ours == CORRECT) != (peer == CORRECT):
            text = case.solution.removeprefix("So the answer is ")
            lines.append("\t".join([kind, case.rule, verdict, peer, text, case.reference]) + "\n")
    print(f"  math-verify on a random {len(chosen):,} of them (ours, math-verify):")
    for (ours, peer), count in sorted(counts.items()):
        print(f"    {ours}, {peer}: {count:,}")
    return [line.replace("\r", " ") for line in lines]


if __name__ == "__main__":
    main()
