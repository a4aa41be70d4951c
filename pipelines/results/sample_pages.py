"""A selection of a run's samples to browse, each with all that `restem explain` says of it.

The selection is by problem, in the order of a seeded hash, taking the purposes (train, test, the
suites) in turn: so a problem's samples of all iterations are there, and can be compared. Of one problem,
iteration and decoding there are at most `MAX_PER_PROMPT`, again in the order of a hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from pipelines.lake.sql_text import sql_list, sql_literal

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

MAX_PER_PROMPT = 8
_STAGES = ("ingest", "render", "generate", "score", "select", "curate", "improve")
"""Stages that make the rows of a sample's lineage."""
_PROBLEM_FIELDS = ("question", "reference", "solution", "split", "dataset", "source_row")
_POLICY_FIELDS = (
    "iteration",
    "policy_id",
    "checkpoint_uri",
    "started_from",
    "training_set_version",
    "epoch",
    "num_epochs",
    "validation_reward",
)
_STAGE_FIELDS = (
    "iteration",
    "stage",
    "attempt",
    "table_name",
    "version",
    "code_version",
    "committed_at",
)
_VERDICT_FIELDS = (
    "verifier",
    "verifier_version",
    "role",
    "reward",
    "verdict",
    "extracted",
    "detail",
    "milliseconds",
)


@dataclass(frozen=True)
class Prompt:
    """What a policy was shown; the few-shot part is the same for many."""

    shared: int
    """Index of its first part in `SampleSelection.shared_prompts`."""
    rest: str


@dataclass(frozen=True)
class SampleSelection:
    """Some of a run's samples, with the rows of other tables that they refer to."""

    run: str
    seed: int
    num_samples: int
    """Of the run, as are the problems."""
    num_problems: int
    samples: list[Row]
    """Each with its seed as text (JavaScript's numbers are too short for it), `verdicts`, `selected_on` (if it was rescored since), `selection`, `weight`."""
    problems: Mapping[str, Row]
    prompts: Mapping[str, Prompt]
    shared_prompts: Sequence[str]
    policies: list[Row]
    stages: list[Row]


def select_for_pages(reader: LakeReader, run: str, maximum: int, seed: int) -> SampleSelection:
    """Choose samples of a run.

    Args:
        reader: the lake.
        run: the run.
        maximum: number of samples; of the last problem chosen there may be more.
        seed: of the hash that orders problems and samples.
    """
    counted = "SELECT count(*) AS samples, count(DISTINCT problem_id) AS problems FROM samples"
    total = reader.rows(counted, run)[0]
    chosen = sql_list(_problems(reader, run, maximum, seed)) if total["samples"] else "('')"
    samples = reader.rows(_SAMPLES.format(seed=sql_literal(str(seed)), chosen=chosen), run)
    ids = {sample["sample_id"] for sample in samples}
    _attach(samples, _rows_of(reader, run, chosen, ids))
    prompts, shared = _prompts(reader, run, chosen)
    names = ", ".join(_PROBLEM_FIELDS)
    problems = f"SELECT problem_id, {names} FROM problems WHERE problem_id IN {chosen}"
    stages = f"SELECT {', '.join(_STAGE_FIELDS)} FROM stages WHERE stage IN {sql_list(_STAGES)}"
    return SampleSelection(
        run=run,
        seed=seed,
        num_samples=total["samples"],
        num_problems=total["problems"],
        samples=samples,
        problems={row.pop("problem_id"): row for row in reader.rows(problems, run)},
        prompts=prompts,
        shared_prompts=shared,
        policies=reader.rows(
            f"SELECT {', '.join(_POLICY_FIELDS)} FROM policies ORDER BY iteration", run
        ),
        stages=reader.rows(f"{stages} ORDER BY committed_at, iteration", run),
    )


def _problems(reader: LakeReader, run: str, maximum: int, seed: int) -> list[str]:
    """The problems whose samples are chosen."""
    # Each problem has a sample at least, so `maximum` of a purpose's problems are enough.
    counted = reader.rows(
        f"""
        SELECT * FROM (
            SELECT purpose, problem_id, sum(least(n, {MAX_PER_PROMPT})) AS samples,
                   row_number() OVER (PARTITION BY purpose ORDER BY
                       md5(concat({sql_literal(str(seed))}, ':', problem_id)), problem_id) AS place
            FROM (SELECT purpose, problem_id, count(*) AS n FROM samples
                  GROUP BY purpose, problem_id, iteration, decoding)
            GROUP BY purpose, problem_id)
        WHERE place <= {maximum} ORDER BY purpose, place
        """,
        run,
    )
    by_purpose: dict[str, list[Row]] = {}
    for row in counted:
        by_purpose.setdefault(row["purpose"], []).append(row)
    chosen: list[str] = []
    room = maximum
    for row in chain.from_iterable(zip_longest(*by_purpose.values())):
        if row is not None and room > 0:
            chosen.append(row["problem_id"])
            room -= row["samples"]
    return chosen


_SAMPLES = f"""
SELECT iteration, sample_id, prompt_id, problem_id, policy_id, purpose, decoding, index,
       finish_reason, stop_string, num_tokens, num_prompt_tokens, log_probability,
       CAST(seed AS VARCHAR) AS seed, temperature, top_k, top_p, max_tokens, created_at, solution
FROM (SELECT *, row_number() OVER (PARTITION BY problem_id, purpose, iteration, decoding
                                   ORDER BY md5(concat({{seed}}, ':', sample_id)), sample_id) AS place
      FROM samples WHERE problem_id IN {{chosen}})
WHERE place <= {MAX_PER_PROMPT} ORDER BY purpose, problem_id, iteration, decoding, index
"""


def _rows_of(reader: LakeReader, run: str, chosen: str, ids: set[str]) -> dict[str, list[Row]]:
    """The rows of the chosen samples in other tables; `iteration` is that of the table."""
    verdicts = f"iteration, sample_id, {', '.join(_VERDICT_FIELDS)}"
    queries = {
        "verdicts": f"SELECT {verdicts} FROM rewards",
        "selected_on": f"SELECT {verdicts} FROM selected_rewards",
        "selection": "SELECT iteration, sample_id, kept, reason, rank FROM selections",
        "weight": "SELECT iteration, sample_id, weight FROM training_set",
    }
    found = {
        name: reader.rows(f"{query} WHERE problem_id IN {chosen}", run)
        for name, query in queries.items()
    }
    return {name: [row for row in rows if row["sample_id"] in ids] for name, rows in found.items()}


def _attach(samples: Sequence[Row], rows: Mapping[str, Sequence[Row]]) -> None:
    """Give each sample its rows of other tables."""
    by_key: dict[tuple[str, int, str], list[Row]] = {}
    for name, several in rows.items():
        # The selections and the training set of iteration i are made of samples of i - 1.
        later = 1 if name in ("selection", "weight") else 0
        for row in several:
            key = (name, row.pop("iteration") - later, row.pop("sample_id"))
            by_key.setdefault(key, []).append(row)
    for sample in samples:
        found = {
            name: by_key.get((name, sample["iteration"], sample["sample_id"]), []) for name in rows
        }
        sample["verdicts"] = found["verdicts"]
        sample["selected_on"] = _if_rescored(found["selected_on"], found["verdicts"])
        sample["selection"] = next(iter(found["selection"]), None)
        sample["weight"] = next((row["weight"] for row in found["weight"]), None)


def _if_rescored(selected_on: list[Row], verdicts: Sequence[Row]) -> list[Row]:
    newest = {(row["verifier"], row["verifier_version"]) for row in verdicts}
    return [r for r in selected_on if (r["verifier"], r["verifier_version"]) not in newest]


def _prompts(reader: LakeReader, run: str, chosen: str) -> tuple[dict[str, Prompt], list[str]]:
    """The prompts by id, and the first parts that several have in common."""
    rows = reader.rows(
        "SELECT DISTINCT prompt_id, purpose, decoding, question, text FROM prompts "
        f"WHERE problem_id IN {chosen}",
        run,
    )
    texts: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        texts.setdefault((row["purpose"], row["decoding"]), []).append(row["text"])
    shared = {key: _common_lines(several) for key, several in texts.items()}
    first_parts = sorted(set(shared.values()))
    prompts = {}
    for row in rows:
        start = shared[row["purpose"], row["decoding"]]
        prompts[row["prompt_id"]] = Prompt(first_parts.index(start), row["text"][len(start) :])
    return prompts, first_parts


def _common_lines(texts: Sequence[str]) -> str:
    """The lines that all texts begin with: exemplars and instructions."""
    first, last = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    start = first[:same]
    return start[: start.rfind("\n") + 1]
