"""The reward-weighted loss, with the prefix that all rows share computed once.

A pass runs the prefix as one row, with gradient, and then all continuations as a batch that attends
to the prefix's keys and values. Each continuation attends to the same tokens as in a row of its own,
so loss and gradient equal those of plain padded rows, up to rounding; the prefix costs one row
instead of one per solution. Logits are computed at labelled positions only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from pipelines.errors import InputError
from pipelines.placement.model_memory import LOGITS_CHUNK
from pipelines.tuning.packing import PackedRow, Tokens
from pipelines.tuning.split_attention import keys_and_values, split_attention

SCORES_LIMIT = 2 * 2**30
"""Maximum bytes of attention scores kept for the gradient; above it the fused kernel is used."""
SCORE_BYTES = 8
"""Bytes per attention score: its float32 share and the cast of it, roughly."""
SHAPED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of models that change the logits after the output matrix."""


def weighted_nll(model: PreTrainedModel, prefix: Tokens, rows: Sequence[PackedRow]) -> Tensor:
    """Sum over rows of weight times negative log-likelihood of the solution's tokens.

    The paper's objective, E[f(r) log p(y | x)], negated and not yet normalized.

    Args:
        model: a causal language model.
        prefix: tokens before every row; may be empty.
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
    labelled = hidden[which, at - 1], inputs[which, at], row_weights[which]
    head = model.get_output_embeddings()
    if len(positions) <= LOGITS_CHUNK:
        return _chunk_nll(head, *labelled)
    chunks = zip(*(part.split(LOGITS_CHUNK) for part in labelled), strict=True)
    losses = [checkpoint(_chunk_nll, head, *chunk, use_reentrant=False) for chunk in chunks]
    return sum(losses[1:], losses[0])


def prefix_cache(model: PreTrainedModel, prefix: Tokens) -> DynamicCache:
    """Keys and values of the prefix, as one row."""
    cache = DynamicCache()
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


def _hidden(model: PreTrainedModel, prefix: Tokens, inputs: Tensor) -> Tensor:
    """Last hidden states of the continuations, [rows, width, hidden size]."""
    if not prefix:
        return model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
    cache = prefix_cache(model, prefix)
    rows, width = inputs.shape
    positions = torch.arange(len(prefix), len(prefix) + width, device=model.device)[None]
    visible = torch.ones(width, len(prefix) + width, dtype=torch.bool, device=model.device)
    # One mask for all rows: the whole prefix, and the row itself causally.
    mask = visible.tril(len(prefix))[None, None]
    if _split_pays(model, rows, mask):
        with split_attention(model):
            return model.base_model(
                input_ids=inputs,
                attention_mask=mask[..., len(prefix) :],
                position_ids=positions,
                use_cache=False,
                shared_prefix=cache,
            ).last_hidden_state
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer)
        keys, values = keys_and_values(layer)
        # Views; they are copied once, when a row's own keys are appended.
        layer.keys = keys.expand(rows, -1, -1, -1)
        layer.values = values.expand(rows, -1, -1, -1)
    return model.base_model(
        input_ids=inputs,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state


def _split_pays(model: PreTrainedModel, rows: int, mask: Tensor) -> bool:
    """Whether to use split attention: on a processor, while its scores fit in memory.

    The fused kernel keeps no scores, but is slow on a processor, its gradient above all.
    """
    config = model.config
    scores = rows * config.num_attention_heads * config.num_hidden_layers * mask.numel()
    return model.device.type == "cpu" and scores * SCORE_BYTES <= SCORES_LIMIT


def _chunk_nll(head: torch.nn.Module, hidden: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    logits = head(hidden).float()
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return (losses * weights).sum()
