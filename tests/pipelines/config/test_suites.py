"""Suites in the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.config import RunConfig
from pipelines.config.load import load_config
from pipelines.config.suites import suites_of
from pipelines.errors import ConfigError

SOURCE = {"kind": "jsonl", "location": "x.jsonl"}
EXAM = {"name": "exam", "source": SOURCE, "reward": {"function": "by_hand"}}
BBH = {
    "name": "bbh",
    "source": SOURCE,
    "prompt": {"template": "Q: {question}\nA:"},
    "reward": {"function": "exact_match"},
    "stop": ["\n\n"],
    "max_tokens": 9,
    "by": "task",
}
DIRECT = {
    "name": "direct",
    "problems_of": "bbh",
    "reward": {"function": "exact_match", "options": {"extract": ["first_line"]}},
    "greedy": False,
    "pass_at_k": {"num_samples": 4, "temperature": 1.0, "top_p": 0.95},
}
PLAIN = {"name": "plain", "source": SOURCE}


def config(*suites: dict[str, Any], **settings: Any) -> RunConfig:
    evaluation = {"suites": list(suites), "num_bootstrap": 200, **settings.pop("evaluation", {})}
    tree = {"name": "r", "problems": {"sources": [SOURCE]}, "evaluation": evaluation}
    return RunConfig.model_validate(tree | settings)


def test_settings_that_a_suite_leaves_open_are_the_runs() -> None:
    run = config(BBH, PLAIN, sampling={"stop": ["\n"], "max_tokens": 77})
    bbh, plain = suites_of(run)
    assert (bbh.max_tokens, bbh.stop, bbh.by) == (9, ("\n\n",), "task")
    assert (plain.max_tokens, plain.stop, plain.by) == (77, ("\n",), None)
    assert (plain.prompt, plain.reward) == (run.prompt, run.reward)


@pytest.mark.parametrize(
    ("reward", "verifiers", "twice"),
    [
        ("math_answer", ["math_answer"], "'math_answer' twice"),
        ("math_answer", ["math_verify", "math_verify"], "'math_verify' twice"),
        ("math_answer", ["by_hand"], "must be computed"),
        ("by_hand", ["math_verify"], "must be computed"),
    ],
)
def test_verdicts_of_one_sample_have_different_verifiers(
    reward: str, verifiers: list[str], twice: str
) -> None:
    further = [{"function": name} for name in verifiers]
    suite = {**PLAIN, "reward": {"function": reward}, "verifiers": further}
    with pytest.raises(ValidationError, match=twice):
        config(suite)
    if reward != "by_hand":
        with pytest.raises(ValidationError, match=twice):
            config(evaluation={"verifiers": further})


def test_suites_can_share_problems() -> None:
    suites = suites_of(config(BBH, DIRECT, {"name": "again", "problems_of": "test"}))
    assert [(suite.name, suite.split) for suite in suites] == [
        ("bbh", "bbh"),
        ("direct", "bbh"),
        ("again", "test"),
    ]


@pytest.mark.parametrize(
    ("suites", "says"),
    [
        (({"name": "test", "source": SOURCE},), "name must not be a split's, got 'test'"),
        (({"name": "a"},), "must have either source or problems_of, not both"),
        (({**BBH, "problems_of": "test"},), "must have either source or problems_of, not both"),
        (({**PLAIN, "greedy": False},), "a suite without greedy must have pass_at_k"),
        ((PLAIN, PLAIN), "suites must have different names, got 'plain' twice"),
        ((DIRECT,), "problems_of must be test or a suite with a source, got 'bbh'"),
        ((BBH, DIRECT, {"name": "c", "problems_of": "direct"}), "got 'direct'"),
    ],
)
def test_impossible_suites_are_refused(suites: tuple[dict[str, Any], ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        config(*suites)


def test_the_reward_of_the_run_must_be_computed() -> None:
    with pytest.raises(ValueError, match="only a suite may be graded by hand"):
        config(reward={"function": "by_hand"})


def test_the_text_of_a_prompt_file_is_pinned_and_settings_beside_it_have_precedence(
    tmp_path: Path,
) -> None:
    prompt = 'source: a book\nlicence: MIT\ntemplate: "Q: {question} A:"\nsolution_prefix: "_"\n'
    (tmp_path / "p.yaml").write_text(prompt)
    tree = {
        "problems": {"sources": [SOURCE]},
        "prompt": {"file": "p.yaml", "solution_prefix": "-"},
        "evaluation": {"suites": [{**PLAIN, "prompt": {"file": "p.yaml"}}]},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(tree))
    run = load_config(tmp_path / "run.yaml")
    assert (run.prompt.template, run.prompt.solution_prefix) == ("Q: {question} A:", "-")
    assert suites_of(run)[0].prompt.solution_prefix == "_"
    assert run.prompt.file is None
    (tmp_path / "p.yaml").write_text(prompt + "exemplar: []\n")
    with pytest.raises(ConfigError, match=r"prompt\.exemplar is not a known field"):
        load_config(tmp_path / "run.yaml")
