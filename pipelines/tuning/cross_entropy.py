"""Cross-entropy of labels under the output matrix, without keeping the logits.

Loss and gradients are computed together, so the logits are made once and turned into their own
gradient in place, a block of rows at a time: on a processor a block stays in its cache, where the
softmax of all rows at once would go through memory several times. What is kept for the backward pass
are the gradients themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pipelines.placement.model_memory import LOGITS_CHUNK

BLOCK_BYTES = 2 * 2**20
"""Bytes of a block's float32 logits on a processor. 1 to 6 MiB were equally fast, 12 MiB half as fast
(cache: 1 MiB per core, 32 MiB in all)."""


def weighted_cross_entropy(
    hidden: Tensor, matrix: Tensor, bias: Tensor | None, labels: Tensor, weights: Tensor
) -> Tensor:
    """Sum over labels of weight times -log softmax(matrix @ hidden + bias)[label].

    The products are in the matrix's number format; the softmax is in float32.

    Args:
        hidden: one row per label, [labels, hidden size].
        matrix: the output matrix, [vocabulary, hidden size].
        bias: the output bias, [vocabulary], if there is one.
        labels: indices into the vocabulary.
        weights: one per label.
    """
    hidden = hidden.to(matrix.dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        loss: Tensor = _WeightedCrossEntropy.apply(hidden, matrix, bias, labels, weights)
    return loss


class _WeightedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        weights: Tensor,
    ) -> Tensor:
        loss = weights.new_zeros(())
        of_hidden, of_matrix, of_bias = torch.empty_like(hidden), None, None
        for start in range(0, len(labels), LOGITS_CHUNK):
            chunk = slice(start, start + LOGITS_CHUNK)
            logits = linear(hidden[chunk], matrix, bias)
            loss += _replace_by_gradient(logits, labels[chunk], weights[chunk])
            torch.mm(logits, matrix, out=of_hidden[chunk])
            part = logits.T @ hidden[chunk]
            of_matrix = part if of_matrix is None else of_matrix.add_(part)
            if bias is not None:
                part = logits.sum(0)
                of_bias = part if of_bias is None else of_bias.add_(part)
        ctx.gradients = of_hidden, of_matrix, of_bias
        return loss

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [None if one is None else one.mul_(of_loss[0]) for one in ctx.gradients]
        ctx.gradients = ()
        return *gradients, None, None


def _replace_by_gradient(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The loss of logits, which become its gradient: weight times (softmax - one at the label)."""
    rows, vocabulary = logits.shape
    block = rows if logits.is_cuda else max(1, BLOCK_BYTES // (4 * vocabulary))
    loss = weights.new_zeros(())
    for start in range(0, rows, block):
        at = slice(start, start + block)
        label, weight = labels[at, None], weights[at, None]
        shares = logits[at].float()
        largest = shares.amax(-1, keepdim=True)
        chosen = shares.gather(-1, label)
        total = shares.sub_(largest).exp_().sum(-1, keepdim=True)
        loss += ((total.log() + largest - chosen) * weight).sum()
        shares.mul_(weight / total).scatter_add_(-1, label, -weight)
        logits[at] = shares
    return loss
