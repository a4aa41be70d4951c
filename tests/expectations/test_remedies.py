"""Every remedy that is printed works: what it names may be changed where the message tells so.

A remedy that names a setting which decides rows that are there must send the user to a run of another
name; one that does not must name settings that may change under the run's own name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expectations.context import Checker, Context
from expectations.rule import Found, Rule
from expectations.table_rules import table_rules
from pipelines.config import RewardConfig, RunConfig
from pipelines.lake.growth import refused_changes
from schemas import CONTAMINATION, PROBLEMS, TABLES
from tests.expectations.test_table_rules import EVERYTHING_KNOWN

ROOT = Path(__file__).resolve().parents[2]
NEW_NAME = "--name"
BEFORE_THE_FIRST_ROW = PROBLEMS.name
"""A run whose problems were refused has no rows, so its name holds it to nothing."""

BASE: dict[str, Any] = {
    "name": "r",
    "problems": {"sources": [{"kind": "jsonl", "location": "x"}], "contamination": {}},
}
OTHER_VALUES: dict[str, Any] = {
    "problems.refused": "drop",
    "reward.timeout_seconds": 60,
    "reward.memory_limit_mb": 4096,
    "reward.max_checker_failures": 0.5,
    "reward.function": "exact_match",
    "sampling.max_tokens": 900,
    "sampling.num_samples_per_problem": 50,
    "engine.max_killed_share": 0.5,
    "model.max_model_len": 4096,
    "problems.sources": [{"kind": "jsonl", "location": "y"}],
    "problems.contamination.exact": "warning",
    "problems.contamination.words": 10,
    "problems.contamination.max_share": 0.5,
}
"""Every setting that a remedy names -> a value other than its default."""
SETTING = re.compile(
    r"\b(?:reward|sampling|engine|model|problems|curate|improve|evaluation)(?:\.[a-z_]+)+"
)


def checkers() -> tuple[Checker, ...]:
    return tuple(
        Checker(
            function,
            Found(1),
            1,
            0.02,
            " or ".join(f"reward.{name}" for name in RewardConfig(function=function).tolerances),
        )
        for function in ("math_answer", "unit_tests")
    )


def remedies() -> Iterator[tuple[str, Rule]]:
    context = Context(**{**vars(EVERYTHING_KNOWN), "checkers": checkers()})
    for table in TABLES:
        for rule in table_rules(table, context):
            if rule.remedy:
                yield table.name, rule


def may_change(setting: str, **reward: Any) -> bool:
    """Whether a setting may change under the name of a run that has rows."""
    stored = RunConfig.model_validate({**BASE, "reward": reward})
    tree = stored.model_dump(mode="json")
    *sections, field = setting.split(".")
    place = tree
    for section in sections:
        place = place[section]
    assert field in place, f"a remedy names {setting}, which is no setting"
    place[field] = OTHER_VALUES[setting]
    return not refused_changes(stored, RunConfig.model_validate(tree), lambda _: 0)


@pytest.mark.parametrize(("table", "rule"), list(remedies()), ids=lambda item: str(item)[:60])
def test_a_remedy_names_what_may_be_changed_or_another_name(table: str, rule: Rule) -> None:
    reward = {"function": "unit_tests"} if rule.text.startswith("unit_tests") else {}
    here = rule.remedy.partition(NEW_NAME)[0] if NEW_NAME in rule.remedy else rule.remedy
    for setting in SETTING.findall(here):
        allowed = may_change(setting, **reward)
        assert allowed or table == BEFORE_THE_FIRST_ROW or NEW_NAME in rule.remedy, (
            f"{table}: {rule.remedy!r}: {setting} is pinned"
        )


def test_a_setting_that_is_promised_without_another_name_stands_before_it() -> None:
    """Of two ways out, the one that keeps the name comes first."""
    (rule,) = [
        rule for rule in table_rules(CONTAMINATION, EVERYTHING_KNOWN) if "sources" in rule.remedy
    ]
    kept, _, _ = rule.remedy.partition(", or ")
    assert all(may_change(setting) for setting in SETTING.findall(kept))


def test_limits_of_programs_decide_rewards() -> None:
    """A program that exceeds a limit is wrong for it; a checker that does has failed."""
    assert may_change("reward.timeout_seconds")
    assert not may_change("reward.timeout_seconds", function="unit_tests")
    assert may_change("reward.max_checker_failures", function="unit_tests")


def messages_of(file: Path) -> Iterator[str]:
    """The texts of the errors that a module raises."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            parts = [item.value for item in ast.walk(node.exc) if isinstance(item, ast.Constant)]
            yield "".join(part for part in parts if isinstance(part, str))


def test_errors_after_the_first_rows_send_to_another_name_where_the_setting_is_pinned() -> None:
    files = [*(ROOT / "pipelines/tuning").glob("*.py"), *(ROOT / "pipelines/stages").glob("*.py")]
    told = [text for file in files for text in messages_of(file)]
    advised = [text for text in told if re.search(r"; (raise|draw)", text) and SETTING.search(text)]
    assert len(advised) >= 2
    for text in advised:
        pinned = [s for s in SETTING.findall(text) if not may_change(s)]
        assert not pinned or NEW_NAME in text, text
