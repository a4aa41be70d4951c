from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import ImproveConfig, TrainingConfig
from pipelines.errors import MachineError
from pipelines.tuning.job import EpochRecord, FineTuneJob, FineTuneResult, finished_result
from pipelines.tuning.progress_file import ProgressWriter
from tests.pipelines.tuning.rows import VALIDATION, last_character_is_even, write_job
from tests.tiny_model import build_tiny_model

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.tuning.fine_tune import Score

pytestmark = pytest.mark.slow
SILENT = ProgressWriter(None)
STEP_SECONDS = 30.0


class Clock:
    """The training's clock, which stands still unless a test lets time pass."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tuning.fine_tune.time", CLOCK)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def score_even(pairs: Sequence[tuple[str, str]], questions: Sequence[str]) -> list[float]:
    return [last_character_is_even(*pair) for pair in pairs]


@dataclass(frozen=True)
class InterruptedAt(ProgressWriter):
    """Interrupts the training in a step, before it is saved; each step takes a while longer."""

    step: int = 1
    losses: list[float] = field(default_factory=list)

    def stepped(self, examples: int, epoch: int, loss: float) -> None:
        CLOCK.sleep(STEP_SECONDS)
        self.losses.append(loss)
        if len(self.losses) == self.step:
            raise KeyboardInterrupt


class ListedRewards:
    """Gives each epoch the next reward of a list; raises at the end of the list."""

    def __init__(self, *rewards: float) -> None:
        self.rewards = list(rewards)

    def __call__(self, pairs: Sequence[tuple[str, str]], questions: Sequence[str]) -> list[float]:
        if not self.rewards:
            raise KeyboardInterrupt
        return [self.rewards.pop(0)] * len(pairs)


def run(
    job: FineTuneJob, score: Score = score_even, progress: ProgressWriter = SILENT
) -> FineTuneResult:
    # Imported here, because they import torch.
    from pipelines.tuning.fine_tune import train
    from pipelines.tuning.workers import Workers

    return train(job, Workers(0, 1, "cpu"), progress, score)


def weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def without_times(history: Sequence[EpochRecord]) -> list[dict[str, object]]:
    return [record.model_dump(exclude={"seconds", "validation_seconds"}) for record in history]


def test_training_lowers_the_loss_and_leaves_a_checkpoint_that_loads(
    start: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    job = write_job(tmp_path, start, improve=ImproveConfig(learning_rate=3e-3, max_epochs=4))
    result = run(job)
    assert [record.epoch for record in result.history] == [1, 2, 3, 4]
    assert result.epoch == 4
    assert result.history[0].validation_reward is None
    assert result.history[-1].train_loss < 0.8 * result.history[0].train_loss
    assert result.history[0].examples == 21
    AutoModelForCausalLM.from_pretrained(result.checkpoint)
    assert finished_result(job) == result


@pytest.mark.parametrize(
    ("rows", "remedy"),
    [(6, "set it to 3, and the same command"), (1, "goes on where there is a larger GPU")],
)
def test_a_step_that_does_not_fit_the_gpu_is_the_users_error_with_a_remedy(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, remedy: str
) -> None:
    import torch

    def fill(*step: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee docs")

    monkeypatch.setattr("pipelines.tuning.fine_tune.add_gradients", fill)
    job = write_job(tmp_path, start, training=TrainingConfig(rows_per_pass=rows))
    with pytest.raises(MachineError) as caught:
        run(job)
    message = str(caught.value)
    assert message.startswith(f"training.rows_per_pass: a step in passes of {rows} rows must fit")
    assert "Tried to allocate 2.00 GiB" in message
    assert remedy in message
    assert "\n" not in message


def test_the_first_loss_of_equal_weights_is_that_of_a_uniform_guess(
    start: Path, tmp_path: Path
) -> None:
    # A small random model is close to uniform over its 128 tokens.
    first = run(write_job(tmp_path, start)).history[0].step_losses[0]
    assert first == pytest.approx(math.log(128), rel=0.25)


def test_the_unit_of_the_weights_does_not_matter(start: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    job = write_job(tmp_path / "one", start)
    scaled = write_job(tmp_path / "ten", start)
    rows = pq.read_table(scaled.train_file).to_pandas()
    rows["weight"] *= 10
    rows.to_parquet(scaled.train_file)
    one, ten = run(job).history[0].step_losses, run(scaled).history[0].step_losses
    assert ten == pytest.approx(one, rel=1e-5)


def test_the_size_of_passes_does_not_change_the_curve(start: Path, tmp_path: Path) -> None:
    job = write_job(tmp_path / "three", start)
    whole = job.training.model_copy(update={"rows_per_pass": 8})
    other = write_job(tmp_path / "eight", start, training=whole)
    for a, b in zip(run(job).history, run(other).history, strict=True):
        assert a.step_losses == pytest.approx(b.step_losses, abs=1e-4)


def test_only_the_best_epoch_on_validation_is_kept(start: Path, tmp_path: Path) -> None:
    improve = ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=5, patience=2)
    job = write_job(tmp_path, start, validation=True, improve=improve)
    result = run(job, ListedRewards(0.2, 0.6, 0.4, 0.6, 0.9))
    assert (result.epoch, result.num_epochs, result.validation_reward) == (2, 4, 0.6)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"train.parquet", "validation.parquet", "epoch-2", "result.json"}


def test_keep_last_hands_on_the_last_epoch(start: Path, tmp_path: Path) -> None:
    improve = ImproveConfig(batch_size=8, max_epochs=3, patience=2, keep="last")
    result = run(write_job(tmp_path, start, True, improve=improve), ListedRewards(0.6, 0.5, 0.4))
    assert (result.epoch, result.validation_reward) == (3, 0.4)
    assert result.checkpoint.is_dir()


def test_an_interrupted_job_resumes_after_its_last_epoch(start: Path, tmp_path: Path) -> None:
    import torch

    improve = ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=3, patience=3)
    whole = run(
        write_job(tmp_path / "whole", start, True, improve=improve), ListedRewards(0.1, 0.2, 0.3)
    )
    job = write_job(tmp_path / "cut", start, True, improve=improve)
    with pytest.raises(KeyboardInterrupt):
        run(job, ListedRewards(0.1))
    assert finished_result(job) is None
    resumed = run(job, ListedRewards(0.2, 0.3))
    assert without_times(resumed.history) == without_times(whole.history)
    expected = weights(whole.checkpoint)
    for name, value in weights(resumed.checkpoint).items():
        assert torch.equal(value, expected[name]), name
    assert not (job.folder / "state.pt").exists()


def test_a_job_interrupted_within_an_epoch_goes_on_after_its_last_saved_step(
    start: Path, tmp_path: Path
) -> None:
    import torch

    improve = ImproveConfig(learning_rate=3e-3, batch_size=6, max_epochs=2, warmup_ratio=0.3)
    whole = run(write_job(tmp_path / "whole", start, improve=improve))
    after_each_step = TrainingConfig(dtype="float32", rows_per_pass=3, save_minutes=1e-9)
    job = write_job(tmp_path / "cut", start, improve=improve, training=after_each_step)
    assert job.fingerprint() == write_job(tmp_path / "whole", start, improve=improve).fingerprint()
    # 21 rows are 4 steps; the third of the second epoch is lost, and made again.
    with pytest.raises(KeyboardInterrupt):
        run(job, progress=InterruptedAt(None, 7))
    resumed = run(job, progress=ProgressWriter(tmp_path / "progress.jsonl"))
    events = [json.loads(line) for line in (tmp_path / "progress.jsonl").open()]
    assert events[0]["resumed"] == "epoch 2, step 3 of 4"
    assert events[0]["done"] == 21 + 12
    assert [event["event"] for event in events] == ["started", "stepped", "stepped"]
    assert without_times(resumed.history) == without_times(whole.history)
    assert resumed.history[1].seconds == 2 * STEP_SECONDS
    expected = weights(whole.checkpoint)
    for name, value in weights(resumed.checkpoint).items():
        assert torch.equal(value, expected[name]), name


def test_a_job_interrupted_on_d_val_keeps_the_solutions_it_has(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from pipelines.tuning.greedy import greedy_solutions

    drawn: list[str] = []

    def greedy(model: Any, tokenizer: Any, texts: Sequence[str], settings: Any) -> list[str]:
        CLOCK.sleep(STEP_SECONDS)
        drawn.extend(texts)
        if len(drawn) == len(VALIDATION):
            drawn.clear()
            raise KeyboardInterrupt
        return greedy_solutions(model, tokenizer, texts, settings)

    # D_val's five prompts are three rounds.
    monkeypatch.setattr("pipelines.tuning.fine_tune.ROWS_AT_ONCE", 2)
    improve = ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=1)
    whole = run(write_job(tmp_path / "whole", start, True, improve=improve))
    training = TrainingConfig(dtype="float32", rows_per_pass=3, save_minutes=1e-9)
    job = write_job(tmp_path / "cut", start, True, improve=improve, training=training)
    monkeypatch.setattr("pipelines.tuning.fine_tune.greedy_solutions", greedy)
    with pytest.raises(KeyboardInterrupt):
        run(job)
    resumed = run(job, progress=ProgressWriter(tmp_path / "progress.jsonl"))
    events = [json.loads(line) for line in (tmp_path / "progress.jsonl").open()]
    assert events[0]["resumed"] == "epoch 1, D_val"
    assert [event["event"] for event in events] == ["started", "validated"]
    assert len(drawn) == 1
    assert without_times(resumed.history) == without_times(whole.history)
    assert resumed.history[0].validation_seconds == 3 * STEP_SECONDS
    expected = weights(whole.checkpoint)
    for name, value in weights(resumed.checkpoint).items():
        assert torch.equal(value, expected[name]), name


def test_the_state_is_saved_by_time_and_not_after_each_step(start: Path, tmp_path: Path) -> None:
    minutes = 1.5 * STEP_SECONDS / 60
    training = TrainingConfig(dtype="float32", rows_per_pass=3, save_minutes=minutes)
    improve = ImproveConfig(batch_size=3, max_epochs=1)
    job = write_job(tmp_path, start, improve=improve, training=training)
    with pytest.raises(KeyboardInterrupt):
        run(job, progress=InterruptedAt(None, 4))
    # The second step ended one step after the start, the third two.
    run(job, progress=ProgressWriter(tmp_path / "progress.jsonl"))
    first = json.loads((tmp_path / "progress.jsonl").read_text().splitlines()[0])
    assert first["resumed"] == "epoch 1, step 4 of 7"


def test_another_jobs_state_is_not_resumed(start: Path, tmp_path: Path) -> None:
    improve = ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=2, patience=2)
    job = write_job(tmp_path, start, True, improve=improve)
    with pytest.raises(KeyboardInterrupt):
        run(job, ListedRewards(0.1))
    other = write_job(tmp_path, start, True, improve=improve, seed=99)
    assert run(other, ListedRewards(0.4, 0.3)).num_epochs == 2


def test_a_half_written_state_is_ignored(start: Path, tmp_path: Path) -> None:
    job = write_job(tmp_path, start)
    (tmp_path / "state.pt").write_bytes(b"half of a state")
    assert run(job).num_epochs == 2


def test_validation_reward_is_the_mean_over_its_problems(start: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def score(pairs: Sequence[tuple[str, str]], questions: Sequence[str]) -> list[float]:
        seen.extend(pairs)
        return [float(index == 0) for index in range(len(pairs))]

    result = run(write_job(tmp_path, start, validation=True), score)
    assert result.validation_reward == 1 / len(VALIDATION)
    assert [answer for _, answer in seen[: len(VALIDATION)]] == [answer for _, answer in VALIDATION]


def test_the_policy_scored_on_validation_is_the_one_handed_on(start: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipelines.tuning.greedy import GreedySettings, greedy_solutions

    scored: list[list[str]] = []

    def score(pairs: Sequence[tuple[str, str]], questions: Sequence[str]) -> list[float]:
        scored.append([solution for solution, _ in pairs])
        return [0.5] * len(pairs)

    improve = ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=1)
    job = write_job(tmp_path, start, validation=True, improve=improve)
    result = run(job, score)
    # The checkpoint is in bfloat16, as the start is; training is in float32.
    stored = AutoModelForCausalLM.from_pretrained(result.checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(result.checkpoint)
    settings = GreedySettings(job.stop, job.max_tokens)
    questions = [question for question, _ in VALIDATION]
    assert scored == [greedy_solutions(stored, tokenizer, questions, settings)]


def test_rounded_weights_are_restored(start: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from pipelines.tuning.checkpoint import rounded_weights

    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1e-5)
    exact = [weight.clone() for weight in model.parameters()]
    with rounded_weights(model, torch.bfloat16):
        rounded = [weight.clone() for weight in model.parameters()]
    for weight, before, inside in zip(model.parameters(), exact, rounded, strict=True):
        assert torch.equal(weight, before)
        assert torch.equal(inside, before.to(torch.bfloat16).float())
