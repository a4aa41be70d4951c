"""Attention of many rows to one shared prefix, without a copy of the prefix for each row.

The queries of all rows meet the prefix's keys in one matrix product. While solutions are decoded
token by token, copying the prefix for every row and token would cost more than the model itself. With
a gradient, on a processor, `block_attention` computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from pipelines.tuning.block_attention import attend_in_blocks

NAME = "restem_split"


@contextmanager
def split_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model's `forward` take a DynamicCache of one row as `shared_prefix`."""
    AttentionInterface.register(NAME, _attend)
    usual = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = usual


def keys_and_values(layer: DynamicLayer) -> tuple[Tensor, Tensor]:
    """What a filled layer of a cache holds, [rows, key heads, length, size] each."""
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared_prefix: DynamicCache | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax over the prefix's keys and the row's own keys together.

    `query` is [rows, heads, queries, size], `key` and `value` are [rows, key heads, keys, size], the
    prefix's are [1, key heads, prefix length, size], and the mask of a row's own keys is
    [rows, 1, queries, keys].
    """
    if torch.is_grad_enabled() and query.device.type == "cpu":
        return _attend_in_training(module, query, key, value, scaling, shared_prefix), None
    if shared_prefix is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    assert attention_mask is not None
    prefix_keys, prefix_values = _of_layer(module, shared_prefix)
    rows, heads, queries, size = query.shape
    key_heads, prefix_length = prefix_keys.shape[:2]
    query = query * (size**-0.5 if scaling is None else scaling)
    # Heads that share keys are queries of one product: [rows, key heads, group * queries, size].
    grouped = query.reshape(rows, key_heads, -1, size)
    to_prefix = _by_head(grouped) @ prefix_keys.transpose(1, 2)
    to_own = (grouped @ key.transpose(2, 3)).view(rows, key_heads, -1, queries, key.shape[2])
    to_own = to_own.masked_fill(~attention_mask[:, :, None], float("-inf")).flatten(2, 3)
    scores = torch.cat([_by_row(to_prefix, rows), to_own], dim=-1)
    shares = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    of_prefix, of_own = shares.split([prefix_length, key.shape[2]], dim=-1)
    output = _by_row(_by_head(of_prefix) @ prefix_values, rows) + of_own @ value
    return output.reshape(rows, heads, queries, size).transpose(1, 2).contiguous(), None


def _attend_in_training(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    shared_prefix: DynamicCache | None,
) -> Tensor:
    """The same for rows of one length that attend causally to themselves, with a gradient."""
    prefix_keys, prefix_values = key[0, :, :0], value[0, :, :0]
    if shared_prefix is not None:
        prefix_keys, prefix_values = _of_layer(module, shared_prefix)
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    output = attend_in_blocks(query, prefix_keys, prefix_values, key, value)
    return output.transpose(1, 2).contiguous()


def _of_layer(module: torch.nn.Module, shared_prefix: DynamicCache) -> tuple[Tensor, Tensor]:
    """The prefix's keys and values in an attention module, [key heads, prefix length, size]."""
    assert isinstance(module.layer_idx, int)
    layer = shared_prefix.layers[module.layer_idx]
    assert isinstance(layer, DynamicLayer)
    keys, values = keys_and_values(layer)
    return keys[0], values[0]


def _by_head(tensor: Tensor) -> Tensor:
    """[rows, key heads, queries, n] as [key heads, rows * queries, n]."""
    return tensor.transpose(0, 1).flatten(1, 2)


def _by_row(tensor: Tensor, rows: int) -> Tensor:
    """The inverse of `_by_head`."""
    return tensor.unflatten(1, (rows, -1)).transpose(0, 1)
