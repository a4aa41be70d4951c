"""The M-step on a GPU: its loss, D_val, checkpoint, memory and resumption, beside the CPU's.

Needs torch, transformers, pyarrow and pydantic alone; docs/gpu.md has the command for a machine that
has nothing else of the stack.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.config import ImproveConfig, TrainingConfig
from pipelines.tuning.job import FineTuneJob, FineTuneResult
from pipelines.tuning.progress_file import ProgressWriter
from tests.gpu.nvidia import memory_mib, needs_gpu, wait_until_freed
from tests.pipelines.tuning.rows import PROBLEMS, last_character_is_even, write_job
from tests.tiny_model import build_tiny_model, tiny_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

ROOT = Path(__file__).resolve().parents[2]

FLOAT32_BOUND = 1e-4
"""Largest difference of a step's mean loss per token in float32: the order of summation alone."""
BFLOAT16_BOUND = 0.02
"""Largest difference from the CPU's loss of the same step in bfloat16, as a share of it. Two ways of
passing and attending differ by at most 0.9 % on a CPU."""
ROUNDING_BOUND = 0.005
"""Largest difference of the first step's loss in bfloat16 from float32's, as a share of it. Only the
first step's: products in bfloat16 see a copy of the weights, which does not show updates that are
smaller than its resolution, so later losses differ by up to a third at this learning rate."""
STEPS = ImproveConfig(learning_rate=1e-4, batch_size=8, max_epochs=2, patience=2)
FLOAT32 = TrainingConfig(dtype="float32", rows_per_pass=3)
BFLOAT16 = TrainingConfig(dtype="bfloat16", rows_per_pass=3)
IN_ONE_PASS = TrainingConfig(dtype="bfloat16", rows_per_pass=8)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute the CPU's part in one thread: for models this small a second one only waits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def wide_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wide_model(tmp_path_factory.mktemp("wide"))


def build_wide_model(folder: Path) -> Path:
    """A random checkpoint of Qwen2's kind: biases, grouped heads of 64, 13 million parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tiny_tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=128,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.nn.Module.to(model := Qwen2ForCausalLM(config), torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def score_even(pairs: Sequence[tuple[str, str]], questions: Sequence[str]) -> list[float]:
    return [last_character_is_even(*pair) for pair in pairs]


def train_on(device: str, job: FineTuneJob) -> FineTuneResult:
    # Imported here, because they import torch.
    from pipelines.tuning.fine_tune import train
    from pipelines.tuning.workers import Workers

    return train(job, Workers(0, 1, device), ProgressWriter(None), score_even)


def step_losses(result: FineTuneResult) -> list[float]:
    return [loss for record in result.history for loss in record.step_losses]


def weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def load(folder: Path, device: str) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.nn.Module.to(model.eval(), device)
    return model


def test_the_loss_of_every_step_in_float32_is_the_cpus(
    device: str, start: Path, tmp_path: Path
) -> None:
    assert_float32_losses_are_the_cpus(device, start, tmp_path)


def test_the_loss_of_every_step_in_bfloat16_is_near_the_cpus(
    device: str, start: Path, tmp_path: Path
) -> None:
    assert_bfloat16_losses_are_near_the_cpus(device, start, tmp_path)


@needs_gpu
def test_a_wider_model_has_the_cpus_losses_too(wide_start: Path, tmp_path: Path) -> None:
    assert_float32_losses_are_the_cpus("cuda:0", wide_start, tmp_path / "float32")
    assert_bfloat16_losses_are_near_the_cpus("cuda:0", wide_start, tmp_path / "bfloat16")


def assert_float32_losses_are_the_cpus(device: str, checkpoint: Path, folder: Path) -> None:
    here = write_job(folder / "here", checkpoint, improve=STEPS, training=FLOAT32)
    there = write_job(folder / "there", checkpoint, improve=STEPS, training=FLOAT32)
    expected = step_losses(train_on("cpu", here))
    found = step_losses(train_on(device, there))
    assert len(expected) == 6
    assert found == pytest.approx(expected, abs=FLOAT32_BOUND)
    assert expected[-1] < expected[0]


def assert_bfloat16_losses_are_near_the_cpus(device: str, checkpoint: Path, folder: Path) -> None:
    exact = write_job(folder / "exact", checkpoint, improve=STEPS, training=FLOAT32)
    here = write_job(folder / "here", checkpoint, improve=STEPS, training=BFLOAT16)
    there = write_job(folder / "there", checkpoint, improve=STEPS, training=IN_ONE_PASS)
    result = train_on(device, there)
    assert result.dtype == "bfloat16"
    expected, found = step_losses(train_on("cpu", here)), step_losses(result)
    assert found == pytest.approx(expected, rel=BFLOAT16_BOUND)
    in_float32 = step_losses(train_on("cpu", exact))
    assert found[0] == pytest.approx(in_float32[0], rel=ROUNDING_BOUND)
    assert found[0] != in_float32[0], "nothing was computed in bfloat16"


def test_greedy_solutions_on_d_val_are_the_cpus(device: str, start: Path) -> None:
    from transformers import AutoTokenizer

    from pipelines.tuning.greedy import GreedySettings, greedy_solutions

    tokenizer, settings = AutoTokenizer.from_pretrained(start), GreedySettings((), 20)
    expected = greedy_solutions(load(start, "cpu"), tokenizer, PROBLEMS, settings)
    found = greedy_solutions(load(start, device), tokenizer, PROBLEMS, settings)
    assert len(set(expected)) > 1
    # Two tokens of nearly the same probability may change places; what follows them then differs.
    same = sum(a == b for a, b in zip(found, expected, strict=True))
    assert same >= len(PROBLEMS) - 1


def test_d_val_is_scored_after_each_epoch_and_chooses_the_epoch(
    device: str, start: Path, tmp_path: Path
) -> None:
    job = write_job(tmp_path, start, validation=True, improve=STEPS, training=FLOAT32)
    result = train_on(device, job)
    rewards = [record.validation_reward for record in result.history]
    assert all(reward is not None and 0 <= reward <= 1 for reward in rewards)
    assert result.validation_reward == max(reward for reward in rewards if reward is not None)


def test_a_checkpoint_of_the_device_is_an_ordinary_folder(
    device: str, start: Path, tmp_path: Path
) -> None:
    import torch

    from pipelines.checkpoints.policy import policy_id_of
    from pipelines.tuning.checkpoint import save_checkpoint

    model = load(start, device)
    save_checkpoint(model, tiny_tokenizer(), torch.bfloat16, tmp_path / "saved")
    # The start is bfloat16, so nothing may have changed on the way to the device and back.
    assert policy_id_of(tmp_path / "saved") == policy_id_of(start)
    assert load(tmp_path / "saved", device).device == torch.device(device)


def test_rounding_to_the_checkpoints_format_is_undone(device: str, start: Path) -> None:
    import torch

    from pipelines.tuning.checkpoint import rounded_weights

    model = load(start, device)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1e-5)
    exact = [weight.clone() for weight in model.parameters()]
    with rounded_weights(model, torch.bfloat16):
        pass
    assert all(map(torch.equal, model.parameters(), exact))


def test_a_job_killed_after_an_epoch_goes_on_with_the_same_curve(
    device: str, start: Path, tmp_path: Path
) -> None:
    """SIGKILL of the worker between epochs; weights and optimizer come back from the state file."""
    improve = STEPS.model_copy(update={"max_epochs": 3, "patience": 3})
    whole = write_job(tmp_path / "whole", start, True, improve=improve, training=FLOAT32)
    expected = train_on(device, whole)
    job = write_job(tmp_path / "cut", start, True, improve=improve, training=FLOAT32)
    process = start_worker(device, job)
    wait_for(job.folder / "state.pt", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (job.folder / "result.json").exists(), "the kill came too late"
    assert 1 <= epochs_done(job.folder) < 3
    found = train_on(device, job)
    assert found.num_epochs == 3
    assert step_losses(found) == pytest.approx(step_losses(expected), abs=FLOAT32_BOUND)


def epochs_done(folder: Path) -> int:
    """Number of epochs in a job's state file."""
    import torch

    return len(torch.load(folder / "state.pt", map_location="cpu", weights_only=True)["history"])


def start_worker(device: str, job: FineTuneJob) -> subprocess.Popen[bytes]:
    """`train` on the device in a process, slowed down after each epoch, so that it can be met."""
    code = (
        "import sys, time; from tests.gpu import test_training as t;"
        "from pipelines.tuning.job import FineTuneJob;"
        "from pipelines.tuning import fine_tune;"
        "save = fine_tune.save_state;"
        "fine_tune.save_state = lambda *given: (save(*given), time.sleep(1));"
        "t.train_on(sys.argv[1], FineTuneJob.model_validate_json(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", code, device, job.model_dump_json()]
    return subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not file.exists():
        assert process.poll() is None, "the worker ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_parameter_takes_sixteen_bytes_in_training(
    device: str, wide_start: Path, tmp_path: Path
) -> None:
    """docs/gpu.md's figure: weights, gradients and AdamW's two moments, all in float32."""
    import torch

    from pipelines.tuning.loading import load_model

    job = write_job(tmp_path, wide_start)
    model, _ = load_model(job, device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    before = torch.cuda.memory_allocated() if device != "cpu" else 0
    tokens = torch.ones((1, 8), dtype=torch.int64, device=device)
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    parameters = list(model.parameters())
    held = [*parameters, *(p.grad for p in parameters if p.grad is not None)]
    held += [moment for state in optimizer.state.values() for moment in state.values()]
    held_bytes = sum(tensor.numel() * tensor.element_size() for tensor in held)
    count = sum(parameter.numel() for parameter in parameters)
    assert held_bytes / count == pytest.approx(16, rel=1e-3)
    if device != "cpu":
        added = torch.cuda.memory_allocated() - before  # all but the weights
        assert added / count == pytest.approx(12, rel=0.05)


@needs_gpu
def test_the_workers_gpu_memory_is_free_when_fine_tune_returns(start: Path, tmp_path: Path) -> None:
    from pipelines.runtime.progress import SilentProgress
    from pipelines.tuning.launch import fine_tune

    before, _ = memory_mib()
    job = write_job(tmp_path, start, validation=True, improve=STEPS, training=BFLOAT16)
    result = fine_tune(job, 21, SilentProgress())
    assert result.dtype == "bfloat16"
    assert wait_until_freed(before, seconds=5) <= before + 300
    assert all(math.isfinite(loss) for loss in step_losses(result))


@needs_gpu
def test_a_killed_worker_leaves_no_gpu_memory_behind(start: Path, tmp_path: Path) -> None:
    before, _ = memory_mib()
    improve = STEPS.model_copy(update={"max_epochs": 20, "patience": 20})
    job = write_job(tmp_path, start, True, improve=improve)
    process = start_worker("cuda:0", job)
    wait_for(tmp_path / "state.pt", process)
    during, _ = memory_mib()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert during > before + 100, "the worker held no GPU memory"
    assert wait_until_freed(before) <= before + 300
