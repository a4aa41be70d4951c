"""A tiny random-weight Llama checkpoint with a character-level tokenizer, for tests on real engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_LENGTH = 512
VOCABULARY = 128
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))
MERGES = ("an", "er", "th", "in")
"""A few tokens of two characters, so that a text has more than one way to be cut."""


def build_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint into `folder` and return it.

    Two layers, hidden size 64, head size 32, bfloat16 weights in safetensors; loads in
    transformers and in vLLM. The tokenizer adds no bos token, like the embedded model's.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16)
    torch.random.set_rng_state(generator_state)
    model.generation_config = GenerationConfig(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Its tokenizer: characters, a few pairs, no token added by itself."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIAL_TOKENS, *CHARACTERS, *MERGES]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=[(pair[0], pair[1]) for pair in MERGES],
            unk_token="<unk>",
        )
    )
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
