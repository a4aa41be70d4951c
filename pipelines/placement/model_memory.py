"""How much memory a model needs to be sampled and trained: arithmetic on its shape, nothing loaded.

Weights and KV cache are exact. The activations of a pass are an estimate; a test compares it with
the tensors that torch keeps for the gradient. Allowances are marked as such.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.errors import InputError

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Number format -> bytes per number."""
TRAINING_BYTES_PER_PARAMETER = 16
"""float32 weight 4, gradient 4, AdamW's two moments 8; every worker holds all of them."""
AUTOCAST_BYTES_PER_PARAMETER = 2
"""bfloat16 copy of a weight, which autocast keeps for the length of a step."""
CONTEXT_BYTES = 2**30
"""Allowance for the CUDA context, cuBLAS's workspace and NCCL's buffers of a process."""
GRAPH_BYTES = 3 * 2**29
"""Allowance for an engine's CUDA graphs and the activations of its largest step."""
LOGITS_CHUNK = 2048
"""Maximum number of labels whose logits are in memory at the same time
(pipelines/tuning/cross_entropy.py)."""
LOGIT_BYTES = 14
"""Per label and entry of the vocabulary, at most: the matrix product's result, its float32 form, and
what a softmax and its gradient take beside them."""
NORM_BYTES = 16
"""Per token, layer and hidden unit: two norms, each with its input and normalized input in float32."""

_HEADER_LENGTH = struct.Struct("<Q")
_COUNTED_DTYPES = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True)
class ModelShape:
    """What a causal language model's memory depends on."""

    num_parameters: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    hidden_size: int
    intermediate_size: int
    vocabulary: int


@dataclass(frozen=True)
class PassSize:
    """The rows of a training pass, and the lengths of the longest."""

    rows: int
    width: int
    """Tokens of a row after the shared prefix."""
    prefix: int
    """Tokens of the shared prefix."""

    def of(self, rows: int) -> PassSize:
        """The same lengths with another number of rows."""
        return replace(self, rows=rows)


@dataclass(frozen=True)
class RowLengths:
    """Bounds on the tokens of a training row, prompt and solution, before any solution is drawn."""

    shortest: int
    """No row is shorter."""
    longest: int
    """The longest prompt with a solution of `sampling.max_tokens`; rows may all be shorter."""


@dataclass(frozen=True)
class EngineMemory:
    """Bytes on one GPU of an engine."""

    weights: int
    overhead: int
    """Logits of a step, CUDA context, graphs and activations; an allowance."""
    kv_bytes_per_token: int
    budget: int
    """What the engine may take: `engine.gpu_memory_utilization` of the GPU."""

    @property
    def kv_tokens(self) -> int:
        """Number of tokens that the KV cache has room for; 0 if there is none."""
        return max(0, (self.budget - self.weights - self.overhead) // self.kv_bytes_per_token)


def shape_of_config(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a config.json states; the parameters are those of a Llama-like model.

    That is: attention with grouped keys, a gated MLP (of each expert, if there are experts), two
    norms per layer.

    Raises:
        KeyError: the configuration names none of the sizes as Llama's does.
    """
    hidden, layers, heads = (
        int(config[name]) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head = int(config.get("head_dim") or hidden // heads)
    inner, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
    is_qwen2 = config.get("model_type") == "qwen2"
    attention = 2 * hidden * head * (heads + kv_heads)
    attention += head * (heads + 2 * kv_heads) * (is_qwen2 or bool(config.get("attention_bias")))
    experts = int(config.get("num_local_experts") or config.get("num_experts") or 0)
    expert_inner = int(config.get("moe_intermediate_size") or inner)
    mlp = 3 * hidden * expert_inner * experts + hidden * experts if experts else 3 * hidden * inner
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    parameters = layers * (attention + mlp + 2 * hidden) + embeddings + hidden
    return ModelShape(parameters, layers, heads, kv_heads, head, hidden, expert_inner, vocabulary)


def read_shape(folder: Path) -> ModelShape:
    """The shape of a checkpoint; its parameters are counted in the headers of its safetensors files.

    If there are none that can be read, the parameters are those of a Llama-like model of the sizes.

    Raises:
        InputError: config.json cannot be read or states no sizes.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        shape = shape_of_config(config.get("text_config") or config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"model.base_model: {folder / 'config.json'} states no sizes "
            f"({type(error).__name__}: {error}), so its memory cannot be estimated"
        ) from None
    try:
        counted = sum(_num_parameters(file) for file in folder.glob("*.safetensors"))
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError):
        return shape  # what loads the weights says what is wrong with them
    return replace(shape, num_parameters=counted) if counted else shape


def weight_bytes(shape: ModelShape, dtype: str, tensor_parallel: int = 1) -> int:
    """Bytes of the weights on each GPU of an engine."""
    return math.ceil(shape.num_parameters * BYTES[dtype] / tensor_parallel)


def kv_bytes_per_token(shape: ModelShape, dtype: str, tensor_parallel: int = 1) -> int:
    """Bytes of a token's keys and values on each GPU of an engine; a head is never split."""
    heads = math.ceil(shape.num_kv_heads / tensor_parallel)
    return 2 * shape.num_layers * heads * shape.head_size * BYTES[dtype]


def engine_memory(
    shape: ModelShape, dtype: str, tensor_parallel: int, max_num_seqs: int, budget: int
) -> EngineMemory:
    """The memory of an engine on each of its GPUs.

    Args:
        shape: the model.
        dtype: number format of weights and cache.
        tensor_parallel: number of GPUs.
        max_num_seqs: number of solutions generated at the same time.
        budget: bytes of a GPU that the engine may take.
    """
    logits = max_num_seqs * shape.vocabulary * LOGIT_BYTES
    return EngineMemory(
        weight_bytes(shape, dtype, tensor_parallel),
        CONTEXT_BYTES + GRAPH_BYTES + logits,
        kv_bytes_per_token(shape, dtype, tensor_parallel),
        budget,
    )


def state_bytes(shape: ModelShape, dtype: str) -> int:
    """Bytes that a training worker holds whatever the pass: weights, gradients, AdamW, context."""
    per_parameter = TRAINING_BYTES_PER_PARAMETER
    per_parameter += AUTOCAST_BYTES_PER_PARAMETER if dtype == "bfloat16" else 0
    return shape.num_parameters * per_parameter + CONTEXT_BYTES


def pass_bytes(shape: ModelShape, dtype: str, size: PassSize) -> int:
    """Estimated bytes that a pass keeps for its gradient: activations and logits."""
    labels = min(size.rows * size.width, LOGITS_CHUNK)
    logits = labels * shape.vocabulary * LOGIT_BYTES
    return activation_bytes(shape, dtype, size) + logits


def activation_bytes(shape: ModelShape, dtype: str, size: PassSize) -> int:
    """Estimated bytes of the layers' activations that a pass keeps for its gradient.

    Counted with torch's saved-tensor hooks on Llama-like models (see the test): per token and layer
    the two norms with their float32 input and normalized input, the inputs of the matrix products,
    which autocast copies to 16 bits for each product, and the rotary embedding's parts; per key the
    copies that attention makes for each head.
    """
    width = BYTES[dtype]
    queries, own = shape.num_heads * shape.head_size, shape.num_kv_heads * shape.head_size
    inputs = (1 if dtype == "float32" else 5) * shape.hidden_size
    per_token = NORM_BYTES * shape.hidden_size
    per_token += width * (inputs + 3 * queries + 2 * own + 4 * shape.intermediate_size)
    per_key = width * 2 * queries
    tokens = size.rows * size.width + size.prefix
    keys = size.rows * (size.width + size.prefix) + size.prefix
    return shape.num_layers * (tokens * per_token + keys * per_key)


def in_gib(size: int) -> str:
    """A number of bytes in words, such as "14.2 GiB"."""
    return f"{size / 2**30:.1f} GiB"


def _num_parameters(file: Path) -> int:
    with file.open("rb") as opened:
        (length,) = _HEADER_LENGTH.unpack(opened.read(_HEADER_LENGTH.size))
        header = json.loads(opened.read(length))
    tensors = (entry for name, entry in header.items() if name != "__metadata__")
    return sum(math.prod(one["shape"]) for one in tensors if one["dtype"] in _COUNTED_DTYPES)
