from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize(("block_bytes", "chunk"), [(1, 2048), (4 * 50 * 3, 2048), (2**20, 4)])
def test_loss_and_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch, has_bias: bool, block_bytes: int, chunk: int
) -> None:
    import torch

    from pipelines.tuning.cross_entropy import weighted_cross_entropy

    # A row per block; three rows; all rows of a chunk, in three chunks.
    monkeypatch.setattr("pipelines.tuning.cross_entropy.BLOCK_BYTES", block_bytes)
    monkeypatch.setattr("pipelines.tuning.cross_entropy.LOGITS_CHUNK", chunk)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(11, 8, generator=generator).requires_grad_()
    matrix = torch.randn(50, 8, generator=generator).requires_grad_()
    bias = torch.randn(50, generator=generator).requires_grad_() if has_bias else None
    labels = torch.randint(0, 50, (11,), generator=generator)
    weights = torch.rand(11, generator=generator) - 0.2  # some are negative
    inputs = [one for one in (hidden, matrix, bias) if one is not None]
    logits = torch.nn.functional.linear(hidden, matrix, bias)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = (losses * weights).sum() / 7
    found = weighted_cross_entropy(hidden, matrix, bias, labels, weights) / 7
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    wanted = torch.autograd.grad(expected, inputs)
    for gradient, other in zip(torch.autograd.grad(found, inputs), wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-6)


def test_a_label_of_vanishing_probability_has_a_finite_loss() -> None:
    import torch

    from pipelines.tuning.cross_entropy import weighted_cross_entropy

    hidden, matrix = torch.tensor([[1.0]]), torch.tensor([[200.0], [-200.0]])
    label, weight = torch.tensor([1]), torch.tensor([2.0])
    assert float(weighted_cross_entropy(hidden, matrix, None, label, weight)) == 800.0
