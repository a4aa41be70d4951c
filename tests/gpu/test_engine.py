"""vLLM on a GPU through the stage that samples: it starts, draws, repeats seeds and frees its memory.

The log-probabilities are compared with transformers on the CPU: where the CUDA build of vLLM is
installed, there is no CPU engine to compare with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.config import RunConfig
from pipelines.stages.generate import generate
from schemas.samples import LENGTH, STOP
from tests.doubles import FolderWriter, Rows, context, policies
from tests.gpu.nvidia import MemoryWatch, memory_mib, needs_gpu, wait_until_freed
from tests.pipelines.sampling.prompts import committed_table, prompt, prompt_table
from tests.tiny_model import build_tiny_model

PER_TOKEN_BOUND = 1e-3
"""Largest difference of a log-probability per token in float32. On a GPU vLLM computes float32
attention with a Triton kernel, whose products may be TF32 (10 bits)."""
UTILIZATION = 0.3
"""Share of the GPU's memory that the engine is given: enough for the tiny model on any GPU."""
SAMPLES, MAX_TOKENS = 12, 5
"""Short solutions: a fifth of the tiny model's tokens have no text, and only a solution whose text
has as many tokens as were drawn can be computed again."""


@dataclass(frozen=True)
class Drawn:
    """The samples of `asked()`."""

    rows: list[dict[str, Any]]
    checkpoint: Path

    def of(self, prompt_id: str) -> list[dict[str, Any]]:
        """The samples of a prompt, by index."""
        found = [row for row in self.rows if row["prompt_id"] == prompt_id]
        return sorted(found, key=lambda row: int(row["index"]))


@pytest.fixture(scope="module")
def ray_here(device: str) -> Iterator[None]:
    import ray

    root = Path(__file__).resolve().parents[2]
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=0 if device == "cpu" else 1,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(root)}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def drawn(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("engine")
    checkpoint = build_tiny_model(folder / "model")
    return Drawn(draw(folder, checkpoint), checkpoint)


def asked() -> list[dict[str, Any]]:
    """Six prompts, each asked twice with the same seed, and two greedy ones."""
    settings = {
        "num_samples": SAMPLES,
        "temperature": 1.0,
        "top_k": 0,
        "max_tokens": MAX_TOKENS,
        "stop": [],
    }
    return [
        prompt(f"{name}{n}", seed=1000 * n, text=f"{'than ' * n}Question {n}:", **settings)
        for n in range(1, 7)
        for name in ("first", "again")
    ] + [
        prompt(
            name, num_samples=1, temperature=0.0, max_tokens=MAX_TOKENS, stop=[], text="Question 1:"
        )
        for name in ("greedy", "greedy-again")
    ]


def draw(folder: Path, checkpoint: Path, **engine: Any) -> list[dict[str, Any]]:
    """Run the stage; the rows it wrote."""
    settings: dict[str, Any] = {
        "dtype": "float32",
        "chunk_prompts": 32,
        "max_num_seqs": 64,
        "kv_cache_gib": 0.25,
        "gpu_memory_utilization": UTILIZATION,
    }
    config = RunConfig.model_validate(
        {
            "name": "engine",
            "output": folder,
            "model": {"max_model_len": 128},
            "problems": {"sources": [{"kind": "generator", "location": "m:f"}]},
            "engine": settings | engine,
        }
    )
    (folder / "files").mkdir(exist_ok=True)
    writer = FolderWriter(folder / "files")
    groups = generate(config, 0).function(
        context(config.folder, start_ray=lambda: None),
        Rows(prompt_table(*asked())),
        policies(policy_id_of(checkpoint), str(checkpoint)),
        committed=Rows(committed_table()),
        writer=writer,
    )
    return writer.read([file for group in groups for file in group])


def test_every_prompt_is_answered(drawn: Drawn) -> None:
    assert len(drawn.rows) == len(asked()[:-2]) * SAMPLES + 2
    assert {row["finish_reason"] for row in drawn.rows} <= {STOP, LENGTH}
    assert all(0 < row["num_tokens"] <= MAX_TOKENS for row in drawn.rows)
    assert len({row["solution"] for row in drawn.rows}) > SAMPLES


def test_the_same_seed_draws_the_same_solution(drawn: Drawn) -> None:
    for n in range(1, 7):
        first, again = drawn.of(f"first{n}"), drawn.of(f"again{n}")
        assert [row["solution"] for row in first] == [row["solution"] for row in again]
        assert len({row["solution"] for row in first}) > 1, "another seed, the same solution"
    assert drawn.of("greedy")[0]["solution"] == drawn.of("greedy-again")[0]["solution"]


def test_log_probabilities_in_float32_are_those_of_transformers_on_the_cpu(drawn: Drawn) -> None:
    texts = {row["prompt_id"]: str(row["text"]) for row in asked()}
    compared = 0
    model, tokenizer = on_the_cpu(drawn.checkpoint)
    for row in drawn.rows:
        before = list(tokenizer(texts[row["prompt_id"]])["input_ids"])
        tokens = list(tokenizer(row["solution"])["input_ids"]) if row["solution"] else []
        if row["finish_reason"] == STOP:
            tokens.append(tokenizer.eos_token_id)
        if len(tokens) != row["num_tokens"]:
            continue
        expected = log_probability(model, before, tokens)
        bound = PER_TOKEN_BOUND * len(tokens)
        assert row["log_probability"] == pytest.approx(expected, abs=bound, rel=0)
        compared += 1
    assert compared >= 20


def on_the_cpu(checkpoint: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(checkpoint)


def log_probability(model: Any, before: Sequence[int], tokens: Sequence[int]) -> float:
    """Sum of log p(token | tokens before it) under the model."""
    import torch

    with torch.no_grad():
        log_p = model(torch.tensor([[*before, *tokens]])).logits[0].log_softmax(-1)
    return sum(float(log_p[len(before) - 1 + at, token]) for at, token in enumerate(tokens))


@needs_gpu
@pytest.mark.parametrize("device", ["cuda:0"], indirect=True, scope="session")
def test_another_engine_repeats_the_draws(drawn: Drawn, tmp_path: Path) -> None:
    again = draw(tmp_path, drawn.checkpoint)
    assert [row["solution"] for row in again] == [row["solution"] for row in drawn.rows]


@needs_gpu
@pytest.mark.parametrize("device", ["cuda:0"], indirect=True, scope="session")
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_the_engines_memory_is_free_after_the_stage(
    ray_here: None, tmp_path: Path, dtype: str
) -> None:
    before, total = memory_mib()
    checkpoint = build_tiny_model(tmp_path / "model")
    with MemoryWatch(lambda: "drawing") as watch:
        rows = draw(tmp_path, checkpoint, dtype=dtype)
    assert len(rows) == len(asked()[:-2]) * SAMPLES + 2
    assert watch.peak["drawing"] > before + UTILIZATION * total / 2, "the engine ran elsewhere"
    assert wait_until_freed(before) <= before + 300
