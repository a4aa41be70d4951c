from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.stages.few_shot import chat_frame, render_text
from pipelines.stages.render import SEED_LIMIT, prompt_id, prompt_seed, render
from schemas import PROMPTS
from tests.doubles import context
from tests.tiny_model import build_tiny_model, tiny_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, Row, SparkSession

SPLITS = ("train", "train", "validation", "test", "hungarian")
EXEMPLARS = [{"question": "1 + 1?", "solution": "It is 2."}]


def config(**settings: Any) -> RunConfig:
    source = {"kind": "jsonl", "location": "problems.jsonl"}
    tree = {"name": "r", "seed": 3, "problems": {"sources": [source]}, **settings}
    return RunConfig.model_validate(tree)


def problems(spark: SparkSession) -> DataFrame:
    rows = [
        (f"p{n}", split, f"What is {n}? \u00e9\U0001f600", str(n)) for n, split in enumerate(SPLITS)
    ]
    return spark.createDataFrame(rows, ["problem_id", "split", "question", "reference"])


def prompts(spark: SparkSession, iteration: int = 0, **settings: Any) -> list[Row]:
    stage = render(config(**settings), iteration)
    made: list[Row] = stage.function(context(), problems(spark)).collect()
    return made


def asked(rows: list[Row]) -> set[tuple[str, str, int]]:
    return {(row.purpose, row.decoding, row.num_samples) for row in rows}


def test_exemplars_come_before_the_question_in_the_same_template() -> None:
    prompt = config(prompt={"template": "Q: {question}\nA:", "exemplars": EXEMPLARS}).prompt
    assert render_text(prompt, "2 + 2?") == "Q: 1 + 1?\nA: It is 2.\n\nQ: 2 + 2?\nA:"


def test_braces_and_the_placeholder_in_a_question_are_left_alone() -> None:
    prompt = config(prompt={"template": "{question}\n"}).prompt
    assert render_text(prompt, "{x} and {question}") == "{x} and {question}\n"


@pytest.mark.parametrize("template", ["Answer:", "{question} {question}"])
def test_a_template_must_have_the_question_once(template: str) -> None:
    with pytest.raises(ConfigError, match=r"must contain \{question\} once"):
        render_text(config(prompt={"template": template}).prompt, "1?")


def test_seeds_are_multiples_of_n_below_the_limit_and_seldom_meet() -> None:
    keys = list(product((0, 1), (0, 1, 2), [f"p{n}" for n in range(500)]))
    seeds = [prompt_seed(run, i, problem, "sample", 32) for run, i, problem in keys]
    assert all(0 <= seed < SEED_LIMIT and seed % 32 == 0 for seed in seeds)
    assert len(set(seeds)) >= len(seeds) - 2


@pytest.mark.slow
def test_spark_and_python_agree_on_text_ids_and_seeds(spark: SparkSession) -> None:
    settings = {"prompt": {"exemplars": EXEMPLARS}}
    prompt = config(**settings).prompt
    question = {row.problem_id: row.question for row in problems(spark).collect()}
    rows = prompts(spark, 1, **settings)
    for row in rows:
        assert row.text == render_text(prompt, question[row.problem_id])
        assert row.prompt_id == prompt_id(row.problem_id, row.purpose, row.decoding, row.text)
        assert row.seed == prompt_seed(3, 1, row.problem_id, row.decoding, row.num_samples)
        assert row.question == question[row.problem_id]
    assert len({row.text[: row.text.rindex(row.question)] for row in rows}) == 1
    assert set(rows[0].asDict()) == set(PROMPTS.column_names) - {"run_id", "iteration"}


@pytest.mark.slow
def test_a_policy_before_the_last_is_asked_for_the_e_step_and_greedily(
    spark: SparkSession,
) -> None:
    rows = prompts(
        spark, 1, sampling={"num_samples_per_problem": 8, "stop": ["\n\n"], "max_tokens": 9}
    )
    assert asked(rows) == {
        ("train", "sample", 8),
        ("validation", "greedy", 1),
        ("test", "greedy", 1),
        ("hungarian", "greedy", 1),
    }
    assert len(rows) == 5
    draw = {row.decoding: (row.temperature, row.top_k, row.top_p) for row in rows}
    assert draw == {"sample": (0.7, 40, 1.0), "greedy": (0.0, 0, 1.0)}
    assert {(tuple(row.stop), row.max_tokens) for row in rows} == {(("\n\n",), 9)}


@pytest.mark.slow
def test_the_last_policy_is_asked_training_problems_only_for_the_gap(
    spark: SparkSession,
) -> None:
    assert not {row for row in prompts(spark, 2) if row.purpose == "train"}
    rows = prompts(spark, 2, evaluation={"final_train_samples": 4})
    assert ("train", "sample", 4) in asked(rows)


@pytest.mark.slow
def test_pass_at_k_is_drawn_on_the_test_problems(spark: SparkSession) -> None:
    decoding = {"num_samples": 16, "temperature": 1.0, "top_p": 0.95}
    rows = prompts(spark, evaluation={"pass_at_k": decoding})
    extra = [row for row in rows if row.decoding == "pass_at_k"]
    assert [(r.purpose, r.num_samples, r.temperature, r.top_p) for r in extra] == [
        ("test", 16, 1.0, 0.95)
    ]


@pytest.mark.slow
def test_chat_turns_are_those_of_the_tokenizers_template(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    checkpoint = build_tiny_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(checkpoint)
    prompt = config(
        prompt={"template": "{question}", "exemplars": EXEMPLARS, "chat": True, "system": "Hi."}
    ).prompt
    frame = chat_frame(prompt, checkpoint)
    assert frame.around("2 + 2?") == (
        "<system>Hi.</><user>1 + 1?</><assistant>It is 2.</><user>2 + 2?</><assistant>"
    )


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_chat_prompt_begins_with_one_bos_token(tmp_path: Path, adds_bos: bool) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
        )
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    prompt = config(prompt={"template": "{question}", "chat": True}).prompt
    text = chat_frame(prompt, tmp_path).around("2 + 2?")
    # As the engine and the M-step read the prompt.
    tokens = tokenizer(text)["input_ids"]
    assert tokens == [
        tokenizer.bos_token_id,
        *tokenizer("[2 + 2?]", add_special_tokens=False)["input_ids"],
    ]
