"""Examples per second of the M-step, beside TRL's SFTTrainer on the same rows.

    python -m benchmarks.m_step [--gsm8k DATA/gsm8k/train.jsonl] [--shapes story gsm8k]

Two shapes of few-shot data: `story` is the quickstart's, two exemplars and short solutions; `gsm8k`
is GSM8K with four exemplars. Each is one batch of 16 rows, trained on `--steps` times per repeat, so
that both train on the same rows in every step; the first step of each repeat is not timed. The two
take turns. Both start from the same weights at the same learning rates, and their losses are printed.

TRL is given prompts and completions and the loss on the completion alone, with its defaults
otherwise; `--without-checkpointing` turns off its gradient checkpointing, which is faster and takes
more than 24 GiB on `gsm8k`. Where it is not installed, restem is measured alone; `pip install
--no-deps --target FOLDER trl accelerate` and PYTHONPATH=FOLDER leave the environment as it is. Needs
torch, transformers, pyarrow and pydantic; the embedded model needs its package, `--model` takes any
checkpoint folder.

The utilization is the arithmetic that the step needs, with the shared prefix once (6 operations per
parameter of a matrix and token, and attention's), over what the machine does in a large matrix
product of the same number format.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers.utils.logging import disable_progress_bar

from pipelines.checkpoints.base_model import resolve_base_model
from pipelines.config import ImproveConfig, ModelConfig, TrainingConfig
from pipelines.datasets.story_problems import story_problems
from pipelines.placement.model_memory import shape_of_config
from pipelines.placement.nvidia import number_format, nvidia_report
from pipelines.runtime.hardware import memory_gib, processor
from pipelines.tuning.fine_tune import train
from pipelines.tuning.job import FineTuneJob
from pipelines.tuning.loading import load_model, load_tokenizer, read_train
from pipelines.tuning.packing import PackedRows, TrainingRow, pack
from pipelines.tuning.progress_file import ProgressWriter
from pipelines.tuning.workers import Workers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 16
LEARNING_RATE = 1e-5
MAX_LENGTH = 1024
SEED = 0
CALCULATOR = re.compile(r"<<[^>]*>>")


@dataclass(frozen=True)
class Timed:
    """A training: the loss of each step, and the seconds of all but the first."""

    losses: list[float]
    seconds: list[float]

    @property
    def rate(self) -> float:
        """Examples per second."""
        return BATCH * len(self.seconds) / sum(self.seconds)


@dataclass(frozen=True)
class StepClock(ProgressWriter):
    """Notes when each optimizer step ended, and its loss."""

    path: Path | None = None
    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def stepped(self, examples: int, epoch: int, loss: float) -> None:
        """See ProgressWriter."""
        self.ends.append(time.perf_counter())
        self.losses.append(loss)


def main() -> None:
    """Make the rows, train both ways in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gsm8k", type=Path, help="GSM8K's train.jsonl; without it: story alone")
    parser.add_argument(
        "--shapes", nargs="+", choices=["story", "gsm8k"], default=["story", "gsm8k"]
    )
    parser.add_argument("--model", default=ModelConfig().base_model)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--steps", type=int, default=3, help="per repeat; the first is not timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokens-per-pass", type=int, help="training.max_tokens_per_pass")
    parser.add_argument("--without-checkpointing", action="store_true", help="in TRL")
    parser.add_argument("--alone", action="store_true", help="without TRL")
    parsed = parser.parse_args()
    if "GOMP_SPINCOUNT" not in os.environ:
        # As the M-step's workers are started. OpenMP reads it when torch is loaded, hence the new start.
        os.environ["GOMP_SPINCOUNT"] = "10000"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.m_step", *sys.argv[1:]])
    disable_progress_bar()
    gpus = nvidia_report().gpus
    device, dtype = ("cuda:0" if gpus else "cpu"), number_format(parsed.dtype, gpus)
    model = str(resolve_base_model(ModelConfig(base_model=parsed.model)))
    peak = matrix_peak(device, dtype)
    machine = processor()
    print(f"{machine.name}, {machine.cores} cores, {memory_gib():.0f} GiB, {device}, {dtype}")
    print(f"{model}; matrix product {peak / 1e9:,.0f} GFLOP/s")
    if not parsed.alone and importlib.util.find_spec("trl") is None:
        print("TRL is not installed: restem alone")
        parsed.alone = True
    makers = {"story": story_rows}
    if parsed.gsm8k:
        makers["gsm8k"] = partial(gsm8k_rows, parsed.gsm8k)
    for name in parsed.shapes:
        if name in makers:
            with tempfile.TemporaryDirectory() as folder:
                training = {"dtype": dtype, "max_tokens_per_pass": parsed.tokens_per_pass}
                job = make_job(Path(folder), makers[name](), model, training, parsed.steps)
                compare(name, job, device, peak, parsed)


def compare(
    name: str, job: FineTuneJob, device: str, peak: float, parsed: argparse.Namespace
) -> None:
    """Train on one shape both ways in turns, and print."""
    packed = pack(load_tokenizer(job), read_train(job.train_file), MAX_LENGTH)
    labels = sum(row.num_labels for row in packed.rows) / BATCH
    print(f"\n{name}: prefix {len(packed.prefix)} tokens, {labels:.0f} labels per row")
    ours, theirs = [], []
    for repeat in range(parsed.repeats):
        ours.append(time_restem(job, device, repeat))
        _show_repeat("restem", ours[-1])
        if not parsed.alone:
            theirs.append(time_trl(job, device, checkpointing=not parsed.without_checkpointing))
            _show_repeat("TRL", theirs[-1])
    needed = step_operations(load_model(job, device)[0], packed)
    _show(ours, theirs, needed, peak)


def story_rows() -> list[TrainingRow]:
    """A batch of the quickstart's problems behind its two exemplars."""
    problems = list(story_problems(BATCH + 2, 0, 0, SEED, max_number=7))
    return _few_shot([(one["question"], one["solution"]) for one in problems], num_exemplars=2)


def gsm8k_rows(file: Path) -> list[TrainingRow]:
    """A random batch of GSM8K behind four exemplars, without its calculator's notes."""
    with file.open(encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    random.Random(SEED).shuffle(problems)
    pairs = [(one["question"], CALCULATOR.sub("", one["answer"])) for one in problems[: BATCH + 4]]
    return _few_shot(pairs, num_exemplars=4)


def _few_shot(pairs: list[tuple[str, str]], num_exemplars: int) -> list[TrainingRow]:
    before = "".join(f"Question: {x}\nAnswer: {y}\n\n" for x, y in pairs[:num_exemplars])
    return [
        TrainingRow(f"{before}Question: {x}\nAnswer:", f" {y}", 1.0, None)
        for x, y in pairs[num_exemplars:]
    ]


def make_job(
    folder: Path, rows: list[TrainingRow], model: str, training: dict[str, Any], steps: int
) -> FineTuneJob:
    """A job that trains on the batch once per epoch."""
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows]), folder / "train.parquet")
    return FineTuneJob(
        start=model,
        start_policy_id="base",
        train_file=folder / "train.parquet",
        max_tokens=1,
        max_model_len=MAX_LENGTH,
        improve=ImproveConfig(
            learning_rate=LEARNING_RATE, batch_size=BATCH, max_epochs=steps, warmup_ratio=0.0
        ),
        training=TrainingConfig.model_validate(training),
        folder=folder,
    )


def time_restem(job: FineTuneJob, device: str, repeat: int) -> Timed:
    """The job's steps; what is saved between two epochs is not part of a step."""
    folder = job.folder / f"repeat-{repeat}"
    folder.mkdir()
    clock = StepClock()
    result = train(
        job.model_copy(update={"folder": folder}), Workers(0, 1, device), clock, lambda *_: []
    )
    return Timed(clock.losses, [record.seconds for record in result.history[1:]])


def time_trl(job: FineTuneJob, device: str, *, checkpointing: bool) -> Timed:
    """SFTTrainer on the same rows, weights, batch and learning rates."""
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    starts: list[float] = []
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            starts.append(time.perf_counter())

        def on_step_end(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    rows = pq.read_table(job.train_file).to_pylist()
    data = Dataset.from_list(
        [{"prompt": row["prompt"], "completion": row["solution"]} for row in rows]
    )
    model, _ = load_model(job, device)
    config = SFTConfig(
        output_dir=str(job.folder / "trl"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=job.improve.max_epochs,
        learning_rate=LEARNING_RATE,
        weight_decay=job.improve.weight_decay,
        max_grad_norm=job.improve.max_grad_norm,
        warmup_steps=0,
        max_length=MAX_LENGTH,
        completion_only_loss=True,
        gradient_checkpointing=checkpointing,
        bf16=job.training.dtype == "bfloat16",
        use_cpu=device == "cpu",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=load_tokenizer(job),
        callbacks=[Clock()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Timed(losses, [end - start for start, end in zip(starts, ends, strict=True)][1:])


def matrix_peak(device: str, dtype: str) -> float:
    """Operations per second of a large matrix product: the best of several."""
    size = 8192 if device != "cpu" else 2048
    left = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
    best = 0.0
    for _ in range(8):
        start = time.perf_counter()
        product = left @ left
        float(product[0, 0])  # waits for a GPU
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def step_operations(model: PreTrainedModel, packed: PackedRows) -> float:
    """Multiplications and additions of a step, forward and backward, with the prefix computed once."""
    shape, prefix = shape_of_config(model.config.to_dict()), len(packed.prefix)
    embedding = shape.vocabulary * shape.hidden_size
    layers = sum(one.numel() for one in model.base_model.parameters() if one.dim() == 2) - embedding
    tokens = prefix + sum(len(row.tokens) for row in packed.rows)
    labels = sum(row.num_labels for row in packed.rows)
    lengths = [len(row.tokens) for row in packed.rows]
    pairs = prefix**2 / 2 + sum(length * (prefix + length / 2) for length in lengths)
    attention = 2 * shape.num_layers * shape.num_heads * shape.head_size * pairs
    return 6 * (layers * tokens + embedding * labels + attention)


def _show_repeat(name: str, timed: Timed) -> None:
    losses = " ".join(f"{loss:.4f}" for loss in timed.losses)
    print(f"  {name:<7}{timed.rate:8.3f} examples/s, losses {losses}", flush=True)


def _show(ours: list[Timed], theirs: list[Timed], needed: float, peak: float) -> None:
    rates = [timed.rate for timed in ours]
    used = [rate / BATCH * needed / peak for rate in rates]
    print(
        f"  restem: {_spread(rates)} examples/s, {100 * statistics.median(used):.0f} % of the peak"
    )
    if theirs:
        print(f"  TRL:    {_spread([timed.rate for timed in theirs])} examples/s")
        ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
        print(f"  ratio:  {_spread(ratios)}")


def _spread(values: list[float]) -> str:
    return f"median {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
