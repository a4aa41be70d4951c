"""A small lake with two runs of two EM iterations, written from literal rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from pipelines.config import RunConfig
from pipelines.runs.steps import steps_of
from schemas import TABLES
from tests import factories

Rows = dict[str, list[dict[str, Any]]]

FEW_SHOT = "Question: What is 1 + 1?\nAnswer: 1 + 1 = 2. The answer is 2.\n\n"
NUM_PROBLEMS = 8
NUM_SAMPLES = 4

_SOLVED = {"first": (1, 2, 3), "second": (1, 2, 4)}
"""Greedily solved test problems of a run, an iteration."""


def write_lake(folder: Path, change: Callable[[Rows], None] = lambda _: None) -> Path:
    """Write the lake into `folder`, one commit a run and table.

    Args:
        folder: where to.
        change: edits the rows of each run before they are written.
    """
    for run in ("first", "second"):
        made = run_rows(run)
        change(made)
        for table in TABLES:
            write_deltalake(
                folder / table.name,
                factories.arrow(table, *made[table.name]),
                partition_by=list(table.partition_by),
                mode="append",
            )
    return folder


def run_rows(run: str) -> Rows:
    """The rows of one run, by table."""
    rows: Rows = {table.name: [] for table in TABLES}
    rows["runs"].append(_run(run))
    rows["problems"] += [_problem(number) for number in range(1, NUM_PROBLEMS + 1)]
    rows["contamination"].append({"iteration": 0})
    rows["leases"].append({"iteration": 0})
    for iteration in range(3):
        rows["policies"].append(_policy(run, iteration))
        rows["evaluations"] += _evaluations(run, iteration)
        for number in range(1, NUM_PROBLEMS + 1):
            _ask(rows, run, iteration, number)
        rows["training_set"] += _training_set(rows, iteration + 1)
        rows["grades"] += _grades(rows, iteration)
    rows["stages"] += _stages(run)
    rows["checks"] += [
        {"iteration": 0, "table_name": "samples", "version": 0, "rule": "rows = prompts x N"},
        {
            "iteration": 1,
            "table_name": "training_set",
            "rule": "accepted share near the last iteration's",
            "severity": "warning",
            "passed": False,
            "observed": "0.62 after 0.31",
        },
    ]
    return {name: [{**row, "run_id": run} for row in made] for name, made in rows.items()}


def _run(run: str) -> dict[str, Any]:
    stored = config(run).model_dump_json()
    return {"iteration": 0, "config": stored, "config_hash": f"hash-{run}"}


def config(run: str) -> RunConfig:
    """The configuration of one run."""
    return RunConfig.model_validate(
        {
            "name": run,
            "seed": 0 if run == "first" else 1,
            "num_iterations": 2,
            "problems": {"sources": [{"kind": "jsonl", "location": "problems.jsonl"}]},
            "sampling": {"num_samples_per_problem": NUM_SAMPLES, "temperature": 0.7},
            "curate": {"cutoff": 10 if run == "first" else 4},
        }
    )


def _split(number: int) -> str:
    return "train" if number <= NUM_PROBLEMS // 2 else "test"


def _problem(number: int) -> dict[str, Any]:
    return {"iteration": 0, "split": _split(number), "problem_id": f"problem-{number}"}


def _text(number: int) -> str:
    return f"{FEW_SHOT}Question: What is {number} + {number}?\nAnswer:"


def _policy(run: str, iteration: int) -> dict[str, Any]:
    base = {"policy_id": "base", "started_from": None, "training_set_version": None}
    own = {
        "policy_id": f"{run}-policy-{iteration}",
        "started_from": "base",
        "training_set_version": 0 if run == "first" else 1,
    }
    history = [{"epoch": 1, "loss": 0.9, "validation_reward": 0.2}]
    return {
        **(own if iteration else base),
        "iteration": iteration,
        "history": json.dumps(history if iteration else []),
        "checkpoint_uri": f"runs/{run}/policy-{iteration}" if iteration else "embedded:base",
    }


def _evaluations(run: str, iteration: int) -> list[dict[str, Any]]:
    accuracy = _SOLVED[run][iteration] / (NUM_PROBLEMS // 2)
    interval = {"ci_low": max(accuracy - 0.1, 0.0), "ci_high": min(accuracy + 0.1, 1.0), "n": 4}
    policy = _policy(run, iteration)["policy_id"]
    return [
        {"iteration": iteration, "policy_id": policy, "suite": suite, "metric": metric}
        | {"value": accuracy, **interval}
        for suite, metric in (("test", "greedy_accuracy"), ("train", "pass_at_1"))
    ]


def _ask(rows: Rows, run: str, iteration: int, number: int) -> None:
    """One problem's prompt, samples, rewards and selections."""
    train = _split(number) == "train"
    decoding = "sample" if train else "greedy"
    prompt_id = f"{run}-{iteration}-prompt-{number}"
    shared = {"iteration": iteration, "problem_id": f"problem-{number}"}
    rows["prompts"].append(
        shared
        | {
            "prompt_id": prompt_id,
            "purpose": _split(number),
            "decoding": decoding,
            "num_samples": NUM_SAMPLES if train else 1,
            "question": f"What is {number} + {number}?",
            "reference": str(2 * number),
            "text": _text(number),
        }
    )
    for index in range(NUM_SAMPLES if train else 1):
        name = f"{run}-{iteration}-sample-{number}-{index}"
        solved = _SOLVED[run][iteration]
        right = index < solved if train else number - NUM_PROBLEMS // 2 <= solved
        _draw(rows, run, shared, name, index, right=right)


def _draw(
    rows: Rows, run: str, shared: dict[str, Any], name: str, index: int, *, right: bool
) -> None:
    iteration, number = shared["iteration"], int(shared["problem_id"].split("-")[1])
    train = _split(number) == "train"
    answer = 2 * number + (0 if right else 1 + index)
    rows["samples"].append(
        shared
        | {
            "sample_id": name,
            "prompt_id": f"{run}-{iteration}-prompt-{number}",
            "policy_id": _policy(run, iteration)["policy_id"],
            "purpose": _split(number),
            "decoding": "sample" if train else "greedy",
            "temperature": 0.7 if train else 0.0,
            "index": index,
            "solution": f" {number} + {number} = {answer}. The answer is {answer}.",
        }
    )
    verdict = {"reward": float(right), "verdict": "correct" if right else "wrong"}
    rows["rewards"].append(shared | {"sample_id": name, "extracted": str(answer)} | verdict)
    if train and iteration < 2:
        kept = right and index == 0
        reason = "kept" if kept else "duplicate_solution" if right else "reward_not_above_threshold"
        rows["selections"].append(
            shared
            | {
                "iteration": iteration + 1,
                "drawn_in": iteration,
                "sample_id": name,
                "kept": kept,
                "reason": reason,
                "rank": 1 if kept else None,
            }
            | verdict
        )


def _training_set(rows: Rows, iteration: int) -> list[dict[str, Any]]:
    chosen = [s for s in rows["selections"] if s["kept"] and s["iteration"] == iteration]
    samples = {sample["sample_id"]: sample for sample in rows["samples"]}
    return [
        {
            "iteration": iteration,
            "sample_id": row["sample_id"],
            "problem_id": row["problem_id"],
            "drawn_in": row["drawn_in"],
            "policy_id": samples[row["sample_id"]]["policy_id"],
            "prompt": _text(int(row["problem_id"].split("-")[1])),
            "solution": samples[row["sample_id"]]["solution"],
        }
        for row in chosen
    ]


def _grades(rows: Rows, iteration: int) -> list[dict[str, Any]]:
    return [
        {name: sample[name] for name in ("iteration", "sample_id", "problem_id", "policy_id")}
        for sample in rows["samples"]
        if sample["purpose"] == "test" and sample["iteration"] == iteration
    ]


def _stages(run: str) -> list[dict[str, Any]]:
    """Every stage of the first run; the second run's last evaluation is not sealed yet."""
    costs = {"generate": 30.0, "improve": 60.0}
    steps = [s for s in steps_of(config(run)) if (run, *s.key) != ("second", 2, "evaluate")]
    return [
        {
            "iteration": step.iteration,
            "stage": step.stage.name,
            "attempt": 1,
            "table_name": step.stage.table.name,
            "version": 0 if run == "first" else 1,
            "covers": json.dumps(step.stage.covers),
            "rows": 8,
            "seconds": costs.get(step.stage.name, 2.0),
            "committed_at": factories.NOON + timedelta(minutes=minute),
        }
        for minute, step in enumerate(steps)
    ]
