from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import InputError
from pipelines.placement.model_memory import (
    CONTEXT_BYTES,
    LOGITS_CHUNK,
    PassSize,
    activation_bytes,
    engine_memory,
    kv_bytes_per_token,
    pass_bytes,
    read_shape,
    shape_of_config,
    state_bytes,
    weight_bytes,
)

GIB = 2**30
QWEN_7B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
QWEN_HALF_B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
LLAMA_2_7B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}


@pytest.mark.parametrize(
    ("config", "parameters"),
    # As their model cards count them.
    [(QWEN_7B, 7_615_616_512), (QWEN_HALF_B, 494_032_768), (LLAMA_2_7B, 6_738_415_616)],
)
def test_parameters_are_counted_from_the_sizes(config: dict[str, Any], parameters: int) -> None:
    assert shape_of_config(config).num_parameters == parameters


def test_keys_and_values_take_two_vectors_per_layer_and_key_head() -> None:
    seven = shape_of_config(QWEN_7B)
    assert kv_bytes_per_token(seven, "bfloat16") == 2 * 28 * 4 * 128 * 2 == 57_344
    assert kv_bytes_per_token(seven, "float32") == 2 * 57_344
    assert kv_bytes_per_token(shape_of_config(LLAMA_2_7B), "float16") == 2 * 32 * 32 * 128 * 2


@pytest.mark.parametrize(("gpus", "heads"), [(1, 4), (2, 2), (4, 1), (8, 1)])
def test_tensor_parallel_splits_weights_and_heads_but_no_head(gpus: int, heads: int) -> None:
    seven = shape_of_config(QWEN_7B)
    assert kv_bytes_per_token(seven, "bfloat16", gpus) == 2 * 28 * heads * 128 * 2
    assert weight_bytes(seven, "bfloat16", gpus) == 7_615_616_512 * 2 // gpus


def test_an_engines_cache_has_what_weights_and_the_rest_leave() -> None:
    seven = shape_of_config(QWEN_7B)
    memory = engine_memory(seven, "bfloat16", 1, 256, int(0.9 * 80 * GIB))
    assert memory.kv_tokens == (memory.budget - memory.weights - memory.overhead) // 57_344
    assert memory.kv_tokens > 256 * 1024  # 256 solutions of 1024 tokens
    assert engine_memory(seven, "bfloat16", 1, 256, 14 * GIB).kv_tokens == 0


def test_a_training_worker_holds_sixteen_bytes_per_parameter_and_autocasts_copies() -> None:
    half = shape_of_config(QWEN_HALF_B)
    assert state_bytes(half, "float32") == 494_032_768 * 16 + CONTEXT_BYTES
    assert state_bytes(half, "bfloat16") == 494_032_768 * 18 + CONTEXT_BYTES


def test_a_pass_keeps_the_logits_of_one_chunk_of_labels() -> None:
    half = shape_of_config(QWEN_HALF_B)

    def logits(size: PassSize) -> int:
        return pass_bytes(half, "bfloat16", size) - activation_bytes(half, "bfloat16", size)

    assert logits(PassSize(1, 100, 50)) == 100 * 151_936 * 14
    assert logits(PassSize(16, 1024, 0)) == LOGITS_CHUNK * 151_936 * 14


def test_a_shared_prefix_costs_one_row_and_its_keys_in_every_row() -> None:
    half = shape_of_config(QWEN_HALF_B)
    alone = activation_bytes(half, "bfloat16", PassSize(8, 100, 0))
    shared = activation_bytes(half, "bfloat16", PassSize(8, 100, 400))
    apart = activation_bytes(half, "bfloat16", PassSize(8, 500, 0))
    assert alone < shared < apart


def test_a_configuration_without_sizes_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(InputError, match="states no sizes") as caught:
        read_shape(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="states no sizes"):
        read_shape(tmp_path / "none")


@pytest.mark.parametrize("weights", [b"", b"\x09\0\0\0\0\0\0\0not JSON!"])
def test_weights_that_cannot_be_read_leave_the_parameters_of_the_sizes(
    tmp_path: Path, weights: bytes
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN_HALF_B))
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert read_shape(tmp_path) == shape_of_config(QWEN_HALF_B)


@pytest.mark.slow
def test_a_checkpoints_parameters_are_those_in_its_files(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from tests.tiny_model import build_tiny_model

    folder = build_tiny_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    shape = read_shape(folder)
    assert shape.num_parameters == sum(one.numel() for one in model.parameters())
    config = json.loads((folder / "config.json").read_text())
    assert shape_of_config(config).num_parameters == shape.num_parameters


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [PassSize(4, 100, 100), PassSize(2, 200, 0)])
def test_the_estimate_of_activations_is_near_what_torch_keeps(
    dtype: str, size: PassSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from pipelines.tuning import shared_prefix
    from pipelines.tuning.packing import PackedRow

    # The fused kernel, as on a GPU.
    monkeypatch.setattr(shared_prefix, "_uses_blocks", lambda model: False)
    config = LlamaConfig(
        vocab_size=128,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=2,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "sdpa"
    model: Any = LlamaForCausalLM(config).eval()
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    rows = [PackedRow((7,) * size.width, size.width - 1, 1.0)] * size.rows
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        prefix = shared_prefix.prefix_cache(model, (5,) * size.prefix)
        head = shared_prefix.OutputLayer.of(model)
        shared_prefix.weighted_nll(model, head, prefix, rows)
    shape = shape_of_config(config.to_dict())
    copies = 2 * shape.num_parameters if dtype == "bfloat16" else 0
    measured = sum(kept.values()) - copies
    assert 0.95 < activation_bytes(shape, dtype, size) / measured < 1.25
