"""Attention of many rows to one shared prefix, without a copy of the prefix for each row.

Used where a row adds one token at a time: there, copying the prefix's keys and values for every row
and token would cost more than all the matrix products. In training, where a row adds many tokens at
once, the fused kernel with copies is as fast and needs less memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache, PreTrainedModel

NAME = "restem_split"


@contextmanager
def split_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let the model's layers take a `shared_prefix` argument, passed to its `forward`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    usual = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = usual


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared_prefix: DynamicCache | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax over the prefix's keys and the row's own keys together; no gradient.

    `query` is [rows, heads, queries, size], `key` and `value` [rows, key heads, keys, size], the
    prefix's [1, key heads, prefix length, size], the mask of a row's own keys [rows, 1, queries, keys].
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if shared_prefix is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    assert attention_mask is not None
    layer = shared_prefix.layers[module.layer_idx]
    prefix_keys, prefix_values = layer.keys[0], layer.values[0]
    rows, heads, queries, size = query.shape
    key_heads, prefix_length = prefix_keys.shape[:2]
    grouped = query.reshape(rows, key_heads, heads // key_heads, queries, size)
    per_head = grouped.transpose(0, 1).reshape(key_heads, -1, size)
    to_prefix = per_head @ prefix_keys.transpose(1, 2)
    to_prefix = to_prefix.view(key_heads, rows, -1, prefix_length).transpose(0, 1)
    to_own = grouped.flatten(2, 3) @ key.transpose(2, 3)
    hidden = ~attention_mask.expand(rows, heads // key_heads, queries, -1).flatten(1, 2)[:, None]
    scores = torch.cat([to_prefix, to_own.masked_fill(hidden, float("-inf"))], dim=-1)
    scale = scaling if scaling is not None else size**-0.5
    shares = (scores.float() * scale).softmax(-1).to(value.dtype)
    own = shares[..., prefix_length:] @ value
    of_prefix = shares[..., :prefix_length].transpose(0, 1).reshape(key_heads, -1, prefix_length)
    from_prefix = (of_prefix @ prefix_values).view(key_heads, rows, -1, size).transpose(0, 1)
    output = (own + from_prefix).view(rows, heads, queries, size)
    return output.transpose(1, 2).contiguous(), None
