from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pipelines.tuning.rows import PROBLEMS
from tests.tiny_model import build_tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

pytestmark = pytest.mark.slow
Loaded = tuple["PreTrainedModel", "PreTrainedTokenizerBase"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = build_tiny_model(tmp_path_factory.mktemp("model"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def greedy(loaded: Loaded, prompts: list[str], stop: tuple[str, ...], max_tokens: int) -> list[str]:
    # Imported here, because it imports torch.
    from pipelines.tuning.greedy import GreedySettings, greedy_solutions

    return greedy_solutions(*loaded, prompts, GreedySettings(stop, max_tokens))


def one_by_one(loaded: Loaded, prompt: str, max_tokens: int) -> str:
    """Greedy decoding without cache or batch."""
    import torch

    model, tokenizer = loaded
    tokens = list(tokenizer(prompt)["input_ids"])
    start = len(tokens)
    while len(tokens) < start + max_tokens and tokens[-1] != tokenizer.eos_token_id:
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return str(tokenizer.decode(tokens[start:], skip_special_tokens=True))


@pytest.mark.parametrize("prompts", [PROBLEMS, ["a", "Question", "xyz " * 9]])
def test_solutions_are_those_of_plain_greedy_decoding(loaded: Loaded, prompts: list[str]) -> None:
    found = greedy(loaded, prompts, (), 20)
    assert found == [one_by_one(loaded, prompt, 20) for prompt in prompts]
    assert len(set(found)) > 1


def test_a_solution_ends_before_its_stop_string(loaded: Loaded) -> None:
    whole = greedy(loaded, PROBLEMS, (), 20)
    stop = whole[0][7:9]
    cut = greedy(loaded, PROBLEMS, (stop,), 20)
    assert cut == [text.split(stop)[0] for text in whole]
    assert len(cut[0]) < len(whole[0])


def test_no_prompts_give_no_solutions(loaded: Loaded) -> None:
    assert greedy(loaded, [], (), 5) == []
