"""A lake whose problems, solutions and names try to become markup or scripts of a page."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lake_fixture import Rows, write_lake

TEXTS = (
    "</script><script>window.pwned = 1</script>",
    "<!-- <script>window.pwned = 2",
    "<img src=x onerror='window.pwned = 3'>",
    "javascript:window.pwned=4 \u202etxet\x07 \u2028 \u2029 \ufeff",
    "{{ 7 * 7 }} {% raw %} ${window.pwned = 5} `\\",
)
SUITE = "bbh/<img src=x onerror='window.pwned=6'><b>bold</b>"
"""A part of a suite is named by its problems."""
METRICS = ("greedy_accuracy", *(f"{kind}_at_{2**n}" for kind in ("pass", "maj") for n in range(7)))


def write_hostile_lake(folder: Path) -> Path:
    """Write it into `folder`; its runs are called `first` and `second`."""
    return write_lake(folder, _make_hostile)


def _make_hostile(rows: Rows) -> None:
    for number, sample in enumerate(rows["samples"]):
        sample["solution"] += TEXTS[number % len(TEXTS)]
        sample["seed"] = 2**62 + number
    for number, problem in enumerate(rows["problems"]):
        problem["question"] = f"What? {TEXTS[number % len(TEXTS)]}"
        problem["reference"] = TEXTS[(number + 1) % len(TEXTS)]
    for prompt in rows["prompts"]:
        prompt["text"] += TEXTS[0]
    for reward in rows["rewards"]:
        reward["extracted"], reward["detail"] = TEXTS[0], TEXTS[2]
        reward["reward"] = float("nan") if reward["verdict"] == "wrong" else 1.0
    for check in rows["checks"]:
        check["examples"] = json.dumps([{"solution": TEXTS[0]}])
    for policy in rows["policies"]:
        policy["checkpoint_uri"] = TEXTS[2]
        if policy["iteration"]:
            epochs = [(1, 0.9, 0.2), (2, 0.5, 0.3)]
            keys = ("epoch", "train_loss", "validation_reward")
            policy["history"] = json.dumps([dict(zip(keys, e, strict=True)) for e in epochs])
    rows["evaluations"] += [
        {"run_id": rows["runs"][0]["run_id"], "iteration": i, "suite": suite, "metric": metric}
        | {"value": value, "ci_low": value - 0.05, "ci_high": value + 0.05, "n": 500}
        for suite in ("test", SUITE)
        for i in range(3)
        for n, metric in enumerate(METRICS)
        for value in [0.1 + 0.2 * i + 0.02 * n]
        if (suite, metric) != ("test", "greedy_accuracy")
    ]
