"""Greedy solutions of a model in training, for the reward on D_val after each epoch.

A plain batched loop over a shared prefix: starting the engine that samples would take longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from pipelines.tuning.packing import Tokens, shared_prefix, tokenize
from pipelines.tuning.shared_prefix import prefix_cache
from pipelines.tuning.split_attention import split_attention

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class GreedySettings:
    """Where a solution ends."""

    stop: tuple[str, ...]
    max_tokens: int


def greedy_solutions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    settings: GreedySettings,
) -> list[str]:
    """The greedy solution of each prompt, without its stop string."""
    if not prompts:
        return []
    tokens = tokenize(tokenizer, prompts)
    prefix = shared_prefix(tokens)
    order = sorted(range(len(prompts)), key=lambda index: len(tokens[index]))
    solutions: dict[int, str] = {}
    with torch.no_grad(), split_attention(model):
        shared = prefix_cache(model, prefix) if prefix else None
        for start in range(0, len(order), ROWS_AT_ONCE):
            part = order[start : start + ROWS_AT_ONCE]
            rests = [tokens[index][len(prefix) :] for index in part]
            texts = _BatchDecoder(model, tokenizer, settings, shared).solutions(rests)
            solutions.update(zip(part, texts, strict=True))
    return [solutions[index] for index in range(len(prompts))]


@dataclass(frozen=True)
class _BatchDecoder:
    """Decodes a batch of prompts that follow a shared prefix."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: GreedySettings
    shared: DynamicCache | None

    def solutions(self, rests: Sequence[Tokens]) -> list[str]:
        """The solution of each prompt, given as its tokens after the prefix.

        Rows that have ended leave the batch.
        """
        width = max(len(rest) for rest in rests)
        cache = DynamicCache()
        padding = [width - len(rest) for rest in rests]
        logits = self._read(rests, padding, cache)
        active = list(range(len(rests)))
        written: list[list[int]] = [[] for _ in rests]
        for position in range(self.settings.max_tokens):
            chosen = logits.argmax(-1)
            for index, token in zip(active, chosen.tolist(), strict=True):
                written[index].append(token)
            going = [row for row, index in enumerate(active) if not self._ended(written[index])]
            if not going or position + 1 == self.settings.max_tokens:
                break
            if len(going) < len(active):
                active = [active[row] for row in going]
                rows = chosen.new_tensor(going)
                cache.batch_select_indices(rows)
                chosen = chosen[rows]
            past = [padding[index] for index in active]
            logits = self._step(chosen, past, width + position, cache)
        return [self._text(tokens) for tokens in written]

    def _read(self, rests: Sequence[Tokens], padding: Sequence[int], cache: DynamicCache) -> Tensor:
        """Logits of the first token of each row, after reading the prompts."""
        device = self.model.device
        width = len(rests[0]) + padding[0]
        inputs = [(0,) * pad + rest for pad, rest in zip(padding, rests, strict=True)]
        columns = torch.arange(width, device=device)
        # Padding is on the left; a padded position attends at least to itself, because a softmax
        # over nothing is not a number.
        real = columns[None] >= torch.tensor(padding, device=device)[:, None]
        causal = columns[None, :] <= columns[:, None]
        own = causal[None] & (real[:, None, :] | torch.eye(width, dtype=torch.bool, device=device))
        positions = self._positions(padding, columns)
        return self._logits(torch.tensor(inputs, device=device), own[:, None], positions, cache)

    def _step(
        self, chosen: Tensor, padding: Sequence[int], column: int, cache: DynamicCache
    ) -> Tensor:
        """Logits of the token after the chosen ones, which are in this column of the batch."""
        device = chosen.device
        columns = torch.arange(column + 1, device=device)
        real = columns[None] >= torch.tensor(padding, device=device)[:, None]
        positions = self._positions(padding, columns[-1:])
        return self._logits(chosen[:, None], real[:, None, None], positions, cache)

    def _positions(self, padding: Sequence[int], columns: Tensor) -> Tensor:
        shift = columns.new_tensor(padding)[:, None]
        before = self.shared.get_seq_length() if self.shared is not None else 0
        return (columns[None] - shift).clamp(min=0) + before

    def _logits(
        self, inputs: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
    ) -> Tensor:
        output = self.model.base_model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            shared_prefix=self.shared,
        )
        head = self.model.get_output_embeddings()
        return head(output.last_hidden_state[:, -1]).float()

    def _ended(self, tokens: list[int]) -> bool:
        if tokens[-1] in self._end_tokens:
            return True
        return any(stop in self._decode(tokens) for stop in self.settings.stop)

    def _text(self, tokens: list[int]) -> str:
        text = self._decode(tokens)
        cuts = [text.find(stop) for stop in self.settings.stop]
        return text[: min((cut for cut in cuts if cut >= 0), default=len(text))]

    def _decode(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    @property
    def _end_tokens(self) -> set[int]:
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        ends = configured if isinstance(configured, list) else [configured]
        return {int(token) for token in (*ends, self.tokenizer.eos_token_id) if token is not None}
