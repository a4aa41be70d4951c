"""Attention in training on a processor, by matrix products over blocks that stay in its cache.

Rows attend to a prefix that they share, and causally to themselves. Scores are not kept: the backward
pass makes them again, as FlashAttention does (https://arxiv.org/abs/2205.14135). torch's own kernel
is slower on a processor, its gradient above all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = 4 * 2**20
"""Bytes of a block's scores."""


def attend_in_blocks(
    query: Tensor, prefix_keys: Tensor, prefix_values: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Softmax over the prefix's keys and, causally, the row's own keys together.

    Under autocast the products are in its number format. A softmax is computed in float32.

    Args:
        query: scaled queries, [rows, heads, length, size].
        prefix_keys: [key heads, prefix length, size]; the length may be 0.
        prefix_values: the same.
        key: a row's own keys, [rows, key heads, length, size].
        value: the same.

    Returns:
        [rows, heads, length, size].
    """
    rows, key_heads, length, size = key.shape
    tensors = [query, prefix_keys, prefix_values, key, value]
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        tensors = [tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors]
    queries, *before, own_keys, own_values = tensors
    keys, values = (
        torch.cat([shared.expand(rows, -1, -1, -1), own], 2).flatten(0, 1)
        for shared, own in zip(before, (own_keys, own_values), strict=True)
    )
    # Heads that share keys are queries of one product.
    queries = queries.reshape(rows * key_heads, -1, size)
    with torch.autocast(kind, enabled=False):
        attended: Tensor = _BlockAttention.apply(queries, keys, values, length)
    return attended.view(query.shape)


class _BlockAttention(torch.autograd.Function):
    """Of queries [batch, group * length, size] to keys and values [batch, prefix + length, size]."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
        ctx.save_for_backward(queries, keys, values)
        ctx.length = length
        output = torch.empty_like(queries)
        for at, shares in _blocks(queries, keys, length):
            torch.bmm(shares, values[at], out=output[at])
        return output

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values = ctx.saved_tensors
        of_queries, of_keys, of_values = map(torch.empty_like, (queries, keys, values))
        for at, shares in _blocks(queries, keys, ctx.length):
            of_output = of_outputs[0][at]
            torch.bmm(shares.mT, of_output, out=of_values[at])
            of_shares = of_output @ values[at].mT
            of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
            torch.bmm(of_scores, keys[at], out=of_queries[at])
            torch.bmm(of_scores.mT, queries[at], out=of_keys[at])
        return of_queries, of_keys, of_values, None


def _blocks(queries: Tensor, keys: Tensor, length: int) -> Iterator[tuple[slice, Tensor]]:
    """Parts of the batch, with the softmax of each part's scores."""
    bias = queries.new_full((length, length), float("-inf")).triu(1)
    bias = bias.repeat(queries.shape[1] // length, 1)
    size = queries.shape[1] * keys.shape[1] * queries.element_size()
    step = max(1, BLOCK_BYTES // size)
    for start in range(0, len(queries), step):
        at = slice(start, start + step)
        scores = queries[at] @ keys[at].mT
        scores[..., -length:] += bias
        yield at, scores.softmax(-1)
