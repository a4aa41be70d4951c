"""configs/: the paper's settings, and small runs that name no machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.config import RunConfig, SourceConfig
from pipelines.config.load import load_config
from pipelines.config.sizes import asked_sizes
from pipelines.config.suites import by_hand, rewards_by_suite, suite_sources, suites_of
from pipelines.datasets.read import read
from pipelines.runs.plan import plan
from pipelines.stages.few_shot import exemplars_of, render_text
from tests.failing_references import failing_references
from tests.real_data import REAL_DATA, needs_real_data

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = ("math", "apps", "math-small", "apps-small")


def config(name: str) -> RunConfig:
    return load_config(CONFIGS / f"{name}.yaml")


@pytest.mark.parametrize(("name", "num_samples", "iterations"), [("math", 32, 3), ("apps", 64, 2)])
def test_the_papers_settings(name: str, num_samples: int, iterations: int) -> None:
    run = config(name)
    sampling, draws = run.sampling, run.evaluation.pass_at_k
    assert (sampling.num_samples_per_problem, run.num_iterations) == (num_samples, iterations)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.7, 40, 1.0)
    assert (run.curate.cutoff, run.improve.start_from, run.improve.keep) == (10, "base", "best")
    assert draws is not None
    assert (draws.num_samples, draws.temperature, draws.top_p) == (64, 1.0, 0.95)
    assert 64 in run.evaluation.k


def test_the_papers_transfer_suites() -> None:
    assert [suite.name for suite in suites_of(config("math"))] == [
        "gsm8k",
        "hungarian_exam",
        "bbh_cot",
        "bbh_direct",
    ]
    assert by_hand(config("math")) == ["hungarian_exam"]
    assert suites_of(config("apps"))[0].name == "humaneval"
    assert {suite.by for suite in suites_of(config("apps"))} == {None, "task"}


def test_plans_are_made_without_data_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a plan went to the network: {arguments}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.delenv("RESTEM_DATA", raising=False)
    for name in NAMES:
        run = config(name)
        generate = [stage for stage in plan(run) if stage.stage == "generate"]
        assert len(generate) == run.num_iterations + 1
        assert all(s.rows and s.rows.total(asked_sizes(run)) for s in generate)
    math = asked_sizes(config("math"))
    assert (math["train"], math["validation"], math["test"]) == (6998, 500, 5000)
    assert asked_sizes(config("apps"))["train"] == 2342 - 200


@pytest.mark.parametrize("name", NAMES)
def test_local_paths_depend_on_one_variable(name: str) -> None:
    run = config(name)
    sources = [*run.problems.sources, *(source for _, source in suite_sources(run))]
    folders = [suite.prompt.exemplars_folder for suite in suites_of(run)]
    for place in [source.location for source in sources] + [f for f in folders if f]:
        assert "${RESTEM_DATA}/" in place or place.count("/") == 1


@pytest.mark.parametrize("path", sorted((CONFIGS / "prompts").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_prompt_names_its_source_and_licence_and_ends_with_the_question(path: Path) -> None:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert tree["source"]
    assert tree["licence"]
    run = RunConfig.model_validate(
        {
            "name": "r",
            "problems": {"sources": [{"kind": "gsm8k"}]},
            "prompt": {k: v for k, v in tree.items() if k not in ("source", "licence", "note")},
        }
    )
    text = render_text(run.prompt, "WHAT?")
    shots = tree.get("exemplars", [])
    assert text.endswith(tree["template"].replace("{question}", "WHAT?"))
    assert [text.count(shot["solution"]) for shot in shots] == [1] * len(shots)


@needs_real_data
def test_the_few_shot_prompts_are_the_published_texts() -> None:
    minerva = render_text(config("math").prompt, "WHAT?")
    published = (REAL_DATA / "prompts/minerva_math_4shot.txt").read_text(encoding="utf-8")
    assert minerva == f"{published}\n\nProblem:\nWHAT?\n\nSolution:"
    gsm8k = yaml.safe_load((REAL_DATA / "prompts/gsm8k_8shot_cot.lm_eval.yaml").read_text())
    shots = gsm8k["fewshot_config"]["samples"]
    asked = "".join(f"Q: {shot['question']}\nA: {shot['target']}\n\n" for shot in shots)
    assert render_text(suites_of(config("math"))[0].prompt, "WHAT?") == f"{asked}Q: WHAT?\nA:"


@needs_real_data
@pytest.mark.parametrize("name", ["math-small", "apps-small"])
def test_the_small_runs_find_their_problems(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTEM_DATA", str(REAL_DATA))
    run = config(name)
    sources: list[SourceConfig] = [
        *run.problems.sources,
        *(source for _, source in suite_sources(run)),
    ]
    for source in sources:
        assert source.max_problems is not None
        assert len(list(read(source, 0))) >= source.max_problems
    for suite in suites_of(run):
        if suite.prompt.exemplars_folder:
            (text,) = exemplars_of(suite.prompt, ["object_counting"]).values()
            assert text.count("\nQ: ") == 3
            assert "canary" not in text


@needs_real_data
def test_every_reference_of_math_and_gsm8k_is_accepted_by_its_reward() -> None:
    """`problems` has a critical expectation that the reward accepts each reference."""
    run = config("math")
    gsm8k = rewards_by_suite(run)["gsm8k"]
    for reward, kind, path in (
        (run.reward, "math", "math/train.jsonl.gz"),
        (run.reward, "math", "math/test.jsonl.gz"),
        (gsm8k, "gsm8k", "gsm8k/test.jsonl"),
    ):
        source = SourceConfig.model_validate({"kind": kind, "location": str(REAL_DATA / path)})
        rows = [{"reference": p.reference, "solution": p.solution} for p in read(source, 0)]
        assert failing_references(reward, rows, num_workers=1) == []
