from __future__ import annotations

import itertools
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from pipelines.errors import InputError
from pipelines.tuning.packing import PackedRow, PackedRows, pack
from tests.pipelines.tuning.rows import TRAIN_ROWS
from tests.tiny_model import build_tiny_model, tiny_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    folder = build_tiny_model(tmp_path_factory.mktemp("model"))
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def plain_nll(model: PreTrainedModel, packed: PackedRows) -> Tensor:
    """The same loss from whole padded rows and all logits."""
    import torch

    sequences = [packed.prefix + row.tokens for row in packed.rows]
    width = max(len(tokens) for tokens in sequences)
    inputs = torch.tensor([tokens + (0,) * (width - len(tokens)) for tokens in sequences])
    mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in sequences])
    log_p = model(input_ids=inputs, attention_mask=mask).logits.float().log_softmax(-1)
    total = torch.zeros(())
    for i, (tokens, row) in enumerate(zip(sequences, packed.rows, strict=True)):
        for at in range(len(packed.prefix) + row.num_prompt, len(tokens)):
            total = total - row.weight * log_p[i, at - 1, tokens[at]]
    return total


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    found = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
    return found


def assert_equal_to_plain(
    model: PreTrainedModel, packed: PackedRows, passes: Sequence[Sequence[PackedRow]] = ()
) -> None:
    # Imported here and below, because it imports torch.
    import torch

    from pipelines.tuning.shared_prefix import add_gradients

    num_labels = sum(row.num_labels for row in packed.rows)
    plain = plain_nll(model, packed) / num_labels
    expected = gradients(model, plain)
    model.zero_grad()
    loss = add_gradients(model, packed.prefix, passes or [packed.rows], num_labels)
    assert loss == pytest.approx(float(plain.detach()), rel=1e-6)
    for name, parameter in model.named_parameters():
        found, wanted = parameter.grad, expected[name]
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, msg=name)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-2


@pytest.mark.parametrize("in_blocks", [False, True])
@pytest.mark.parametrize("bounds", [(0, 21), (0, 4, 5, 21)])
def test_loss_and_gradient_are_those_of_plain_padded_rows(
    model: PreTrainedModel,
    monkeypatch: pytest.MonkeyPatch,
    in_blocks: bool,
    bounds: tuple[int, ...],
) -> None:
    # Both ways of attending to the prefix, a GPU's and a processor's; in one pass and in three.
    monkeypatch.setattr("pipelines.tuning.shared_prefix._uses_blocks", lambda model: in_blocks)
    packed = pack(tiny_tokenizer(), TRAIN_ROWS, 512)
    assert len(packed.prefix) > 20
    assert len({len(row.tokens) for row in packed.rows}) > 3
    passes = [packed.rows[a:b] for a, b in itertools.pairwise(bounds)]
    assert_equal_to_plain(model, packed, passes)


def test_a_step_computes_the_prefix_once_and_casts_each_weight_once(
    model: PreTrainedModel,
) -> None:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from pipelines.tuning.shared_prefix import add_gradients

    packed = pack(tiny_tokenizer(), TRAIN_ROWS, 512)
    passes = [packed.rows[a : a + 3] for a in range(0, 21, 3)]
    shapes: list[tuple[int, ...]] = []
    layer = model.base_model.get_submodule("layers.0")
    handle = layer.register_forward_pre_hook(
        lambda module, args: shapes.append(tuple(args[0].shape[:2]))
    )
    matrices = {one.data_ptr() for one in model.parameters() if one.dim() == 2}
    casts: list[int] = []

    class CastCounter(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is torch.ops.aten._to_copy.default:
                casts.append(args[0].data_ptr())
            return func(*args, **(kwargs or {}))

    with handle, CastCounter(), torch.autocast("cpu", dtype=torch.bfloat16):
        add_gradients(model, packed.prefix, passes, 1)
    assert shapes[0] == (1, len(packed.prefix))
    assert [rows for rows, _ in shapes] == [1, 3, 3, 3, 3, 3, 3, 3]
    assert sorted(one for one in casts if one in matrices) == sorted(matrices)


def test_rows_without_a_shared_prefix_have_the_plain_loss_too(model: PreTrainedModel) -> None:
    rows = [row._replace(prompt=f"{chr(97 + i)}{row.prompt}") for i, row in enumerate(TRAIN_ROWS)]
    packed = pack(tiny_tokenizer(), rows, 512)
    assert packed.prefix == ()
    assert_equal_to_plain(model, packed)


def test_logits_in_chunks_give_the_plain_loss(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tuning.cross_entropy.LOGITS_CHUNK", 50)
    assert_equal_to_plain(model, pack(tiny_tokenizer(), TRAIN_ROWS, 512))


def test_a_model_that_shapes_its_logits_is_refused(model: PreTrainedModel) -> None:
    from pipelines.tuning.shared_prefix import check_supported

    other = deepcopy(model)
    other.config.final_logit_softcapping = 30.0
    with pytest.raises(InputError, match=r"does not support final_logit_softcapping=30\.0"):
        check_supported(other, 128)


def test_a_window_shorter_than_the_rows_is_refused(model: PreTrainedModel) -> None:
    from pipelines.tuning.shared_prefix import check_supported

    other = deepcopy(model)
    check_supported(other, 128)
    other.config.sliding_window = 64
    with pytest.raises(InputError, match=r"max_model_len must be <= 64"):
        check_supported(other, 128)
