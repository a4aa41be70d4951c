from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.slow


def plain_attention(query: Tensor, prefix: list[Tensor], own: list[Tensor]) -> Tensor:
    """torch's kernel, on the prefix's keys and values copied for each row and each head."""
    import torch

    rows, heads, length, _ = query.shape
    before = prefix[0].shape[1]
    keys, values = (
        torch.cat([shared.expand(rows, -1, -1, -1), mine], 2).repeat_interleave(
            heads // mine.shape[1], 1
        )
        for shared, mine in zip(prefix, own, strict=True)
    )
    mask = torch.ones(length, before + length, dtype=torch.bool).tril(before)
    return torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, scale=1.0
    )


@pytest.mark.parametrize("block_bytes", [1, 4000, 2**22])
@pytest.mark.parametrize("before", [0, 13])
def test_output_and_gradients_are_those_of_torchs_kernel(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int, before: int
) -> None:
    import torch

    from pipelines.tuning.block_attention import attend_in_blocks

    # One block per row and key head; a few rows per block, the last block short; all rows in one.
    monkeypatch.setattr("pipelines.tuning.block_attention.BLOCK_BYTES", block_bytes)
    generator = torch.Generator().manual_seed(3)
    sizes = [(5, 6, 9, 8), (2, before, 8), (2, before, 8), (5, 2, 9, 8), (5, 2, 9, 8)]
    given = [torch.randn(size, generator=generator).requires_grad_() for size in sizes]
    expected = plain_attention(given[0], given[1:3], given[3:])
    found = attend_in_blocks(*given)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    upstream = torch.randn(expected.shape, generator=generator)
    wanted = torch.autograd.grad(expected, given, upstream)
    for gradient, other in zip(torch.autograd.grad(found, given, upstream), wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=5e-6)


def test_under_autocast_the_products_are_in_bfloat16_and_near_float32s() -> None:
    import torch

    from pipelines.tuning.block_attention import attend_in_blocks

    generator = torch.Generator().manual_seed(3)
    sizes = [(3, 4, 7, 16), (2, 11, 16), (2, 11, 16), (3, 2, 7, 16), (3, 2, 7, 16)]
    given = [torch.randn(size, generator=generator).requires_grad_() for size in sizes]
    exact = attend_in_blocks(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = attend_in_blocks(*given)
    assert (exact.dtype, rounded.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)
