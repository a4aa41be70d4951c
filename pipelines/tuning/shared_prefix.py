"""The reward-weighted loss, with the prefix that all rows share computed once.

A step runs the prefix as one row, then passes of continuations as batches that attend to the prefix's
keys and values, and last the prefix's backward pass, with the gradient that all passes have left in
them. Each continuation attends to the same tokens as in a row of its own, so loss and gradient equal
those of plain padded rows, up to rounding; the prefix costs one row per step instead of one per
solution. Logits are computed at labelled positions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from pipelines.errors import InputError
from pipelines.tuning.cross_entropy import weighted_cross_entropy
from pipelines.tuning.packing import PackedRow, Tokens
from pipelines.tuning.split_attention import keys_and_values, split_attention

SHAPED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of models that change the logits after the output matrix."""


def add_gradients(
    model: PreTrainedModel, prefix: Tokens, passes: Sequence[Sequence[PackedRow]], num_labels: int
) -> float:
    """Add a step's gradient to the parameters' gradients; returns the worker's part of the loss.

    The prefix is computed once, forward and backward, whatever the number of passes: the passes add
    up the gradient of its keys and values. Under autocast each weight is cast once.

    Args:
        model: a causal language model.
        prefix: tokens before every row; may be empty.
        passes: the worker's rows of the step.
        num_labels: number of labelled tokens of all workers' rows, which the loss is divided by.
    """
    if not passes:
        return 0.0
    with _training_attention(model):
        cache = prefix_cache(model, prefix)
    head = OutputLayer.of(model)
    computed: list[Tensor] = []
    given: list[Tensor] = []
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer)
        of_layer = keys_and_values(layer)
        layer.keys, layer.values = (tensor.detach().requires_grad_() for tensor in of_layer)
        computed += of_layer
        given += keys_and_values(layer)
    loss = 0.0
    for rows in passes:
        part = weighted_nll(model, head, cache, rows) / num_labels
        loss += float(part.detach())
        _backward(model, [part])
    _backward(model, computed, [tensor.grad for tensor in given])
    return loss


def _backward(
    model: PreTrainedModel, tensors: list[Tensor], gradients: list[Tensor | None] | None = None
) -> None:
    """Backward without autocast, inside an autocast region whose casts of weights are kept."""
    with torch.autocast(model.device.type, enabled=False):
        torch.autograd.backward(tensors, gradients)


class OutputLayer(NamedTuple):
    """A model's last matrix, [vocabulary, hidden size], and its bias, if it has one."""

    matrix: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, model: PreTrainedModel) -> OutputLayer:
        """The model's; under autocast in its number format."""
        layer, kind = model.get_output_embeddings(), model.device.type
        if not torch.is_autocast_enabled(kind):
            return cls(layer.weight, layer.bias)
        dtype = torch.get_autocast_dtype(kind)
        return cls(layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype))


def weighted_nll(
    model: PreTrainedModel, head: OutputLayer, prefix: DynamicCache, rows: Sequence[PackedRow]
) -> Tensor:
    """Sum over rows of weight times negative log-likelihood of the solution's tokens.

    The paper's objective, E[f(r) log p(y | x)], negated and not yet normalized.

    Args:
        model: a causal language model.
        head: its output layer.
        prefix: keys and values of the tokens before every row; may be empty.
        rows: rows of one pass; similar lengths need the least padding.
    """
    width = max(len(row.tokens) for row in rows)
    # Padding is on the right, so causal attention never reaches it from a real token.
    inputs = torch.tensor(
        [row.tokens + (0,) * (width - len(row.tokens)) for row in rows], device=model.device
    )
    hidden = _hidden(model, prefix, inputs)
    positions = [
        (i, at) for i, row in enumerate(rows) for at in range(row.num_prompt, len(row.tokens))
    ]
    which, at = torch.tensor(positions, device=model.device).unbind(1)
    row_weights = torch.tensor([row.weight for row in rows], device=model.device)
    return weighted_cross_entropy(
        hidden[which, at - 1], *head, inputs[which, at], row_weights[which]
    )


def prefix_cache(model: PreTrainedModel, prefix: Tokens) -> DynamicCache:
    """Keys and values of the prefix, as one row; empty if it has no tokens."""
    cache = DynamicCache()
    if not prefix:
        return cache
    tokens = torch.tensor([prefix], device=model.device)
    model.base_model(input_ids=tokens, past_key_values=cache, use_cache=True)
    return cache


def check_supported(model: PreTrainedModel, max_model_len: int) -> None:
    """Refuse models whose loss or attention is not what this module computes.

    Raises:
        InputError: naming the setting: logits that are more than the output matrix times the
            hidden state, or attention that does not reach back to the prefix.
    """
    config = model.config
    shaped = {name: getattr(config, name, None) for name in SHAPED_LOGITS}
    for name, value in shaped.items():
        if value not in (None, 1, 1.0):
            raise InputError(
                f"model.base_model: fine-tuning does not support {name}={value} of "
                f"{type(model).__name__}; choose another base model"
            )
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True) and window < max_model_len:
        raise InputError(
            f"model.max_model_len must be <= {window}, the attention window of "
            f"{type(model).__name__}, to fine-tune it, got {max_model_len}; lower it"
        )


def _hidden(model: PreTrainedModel, prefix: DynamicCache, inputs: Tensor) -> Tensor:
    """Last hidden states of the continuations, [rows, width, hidden size]."""
    length = prefix.get_seq_length()
    if not length:
        with _training_attention(model):
            return model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
    rows, width = inputs.shape
    positions = torch.arange(length, length + width, device=model.device)[None]
    if _uses_blocks(model):
        with _training_attention(model):
            return model.base_model(
                input_ids=inputs, position_ids=positions, use_cache=False, shared_prefix=prefix
            ).last_hidden_state
    visible = torch.ones(width, length + width, dtype=torch.bool, device=model.device)
    # One mask for all rows: the whole prefix, and the row itself causally.
    return model.base_model(
        input_ids=inputs,
        attention_mask=visible.tril(length)[None, None],
        position_ids=positions,
        past_key_values=_repeated(prefix, rows),
        use_cache=True,
    ).last_hidden_state


def _repeated(prefix: DynamicCache, rows: int) -> DynamicCache:
    """The prefix's keys and values for each row; views, which are copied as a row's are appended."""
    repeated = DynamicCache()
    for layer in prefix.layers:
        assert isinstance(layer, DynamicLayer)
        keys, values = keys_and_values(layer)
        one = copy(layer)
        one.keys, one.values = keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)
        repeated.layers.append(one)
    return repeated


def _training_attention(model: PreTrainedModel) -> AbstractContextManager[None]:
    return split_attention(model) if _uses_blocks(model) else nullcontext()


def _uses_blocks(model: PreTrainedModel) -> bool:
    """Whether attention is computed block by block: on a processor, where the fused kernel is slow."""
    return model.device.type == "cpu"
