"""Generated story problems: a chain of comparisons, solved by one addition per step.

"Sara has 4 coins. Tom has 7 more coins than Sara. Mia has 3 more coins than Tom. How many coins
does Mia have?" The quickstart trains on these: the embedded model can do each addition, but seldom
makes all the steps that are asked for and then stops.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

NAMES = ("Ann", "Ben", "Eva", "Leo", "Max", "Mia", "Sam", "Sara", "Tom", "Zoe")
THINGS = ("apples", "books", "cards", "coins", "marbles", "pencils", "shells", "stickers")
SMALLEST = 2
"""Smallest number in a question: the things are plurals."""
MAX_SHARE = 0.5
"""Maximum share of all possible questions; above it, drawing without repeats gets slow."""


def story_problems(
    num_train: int,
    num_validation: int,
    num_test: int,
    seed: int = 0,
    num_steps: int = 2,
    max_number: int = 9,
) -> Iterator[dict[str, str]]:
    """Distinct problems, the same for the same arguments.

    Args:
        num_train: number of training problems.
        num_validation: number of problems of D_val.
        num_test: number of test problems.
        seed: another seed draws other problems.
        num_steps: additions per problem.
        max_number: largest number in a question.

    Yields:
        `question`, `answer` (a number in digits), `solution` (each step written out) and `split`
        (`train`, `validation` or `test`). No question occurs twice, within or across splits.

    Raises:
        ValueError: an argument breaks its rule, or there are too few distinct questions.
    """
    counts = {"train": num_train, "validation": num_validation, "test": num_test}
    _check(counts, num_steps, max_number)
    splits = itertools.chain.from_iterable([split] * count for split, count in counts.items())
    rng = random.Random(f"story_problems/{seed}")
    seen: set[str] = set()
    for split in splits:
        problem = _problem(rng, num_steps, max_number)
        while problem["question"] in seen:
            problem = _problem(rng, num_steps, max_number)
        seen.add(problem["question"])
        yield {**problem, "split": split}


def num_questions(num_steps: int, max_number: int) -> int:
    """Number of distinct questions."""
    people = 1
    for taken in range(num_steps + 1):
        people *= len(NAMES) - taken
    return people * len(THINGS) * (max_number - SMALLEST + 1) ** (num_steps + 1)


def _check(counts: dict[str, int], num_steps: int, max_number: int) -> None:
    for split, count in counts.items():
        if count < 0:
            raise ValueError(f"num_{split} must be >= 0, got {count}")
    if not 1 <= num_steps < len(NAMES):
        raise ValueError(f"num_steps must be from 1 to {len(NAMES) - 1}, got {num_steps}")
    if max_number < SMALLEST:
        raise ValueError(f"max_number must be >= {SMALLEST}, got {max_number}")
    wanted, limit = sum(counts.values()), int(MAX_SHARE * num_questions(num_steps, max_number))
    if wanted > limit:
        raise ValueError(
            f"num_train + num_validation + num_test must be <= {limit} for {num_steps} steps with "
            f"numbers up to {max_number}, got {wanted}; raise num_steps or max_number"
        )


def _problem(rng: random.Random, num_steps: int, max_number: int) -> dict[str, str]:
    people = rng.sample(NAMES, num_steps + 1)
    things = rng.choice(THINGS)
    first, *more = (rng.randint(SMALLEST, max_number) for _ in people)
    comparisons = [
        f"{person} has {number} more {things} than {other}."
        for other, person, number in zip(people, people[1:], more, strict=False)
    ]
    totals = list(itertools.accumulate([first, *more]))
    steps = zip(totals, more, totals[1:], strict=False)
    return {
        "question": " ".join(
            [
                f"{people[0]} has {first} {things}.",
                *comparisons,
                f"How many {things} does {people[-1]} have?",
            ]
        ),
        "answer": str(totals[-1]),
        "solution": "; ".join(f"{total}+{number}={result}" for total, number, result in steps),
    }
