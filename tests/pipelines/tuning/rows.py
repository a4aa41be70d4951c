"""Rows and jobs for the tests of fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config import ImproveConfig, RewardConfig, TrainingConfig
from pipelines.tuning.job import FineTuneJob
from pipelines.tuning.packing import TrainingRow

FEW_SHOT = "Question: 1 + 1\nAnswer: 2\n\n"
PROBLEMS = [f"{FEW_SHOT}Question: {a} + {a * 7 % 23}\nAnswer:" for a in range(1, 22)]
TRAIN_ROWS = [
    TrainingRow(prompt, f" {'an' * (i % 4)}{i * 3}. The answer is {i}", 1.0 + i % 3, "\n")
    for i, prompt in enumerate(PROBLEMS)
]
"""21 rows of several lengths and weights; with batches of 8, the last batch is short."""
VALIDATION = [(f"{FEW_SHOT}Question: {a} - 1\nAnswer:", str(a - 1)) for a in (3, 14, 25, 7, 9)]


def last_character_is_even(solution: str, reference: str) -> float:
    """A reward that a random model sometimes earns."""
    return float(ord(solution[-1:] or "a") % 2 == 0)


EVEN = RewardConfig(function=f"python:{__name__}:{last_character_is_even.__name__}")


def write_job(folder: Path, start: Path, validation: bool = False, **changes: Any) -> FineTuneJob:
    """A small job on the rows above, in float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    train = pa.Table.from_pylist([row._asdict() for row in TRAIN_ROWS])
    pq.write_table(train, folder / "train.parquet")
    prompts = [
        {
            "text": text,
            "reference": reference,
            "question": text.removeprefix(FEW_SHOT),
            "problem_id": reference,
        }
        for text, reference in VALIDATION
    ]
    pq.write_table(pa.Table.from_pylist(prompts), folder / "validation.parquet")
    settings: dict[str, Any] = {
        "start": str(start),
        "start_policy_id": "base",
        "train_file": folder / "train.parquet",
        "validation_file": folder / "validation.parquet" if validation else None,
        "stop": ("\n",),
        "max_tokens": 12,
        "max_model_len": 128,
        "reward": EVEN,
        "improve": ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=2),
        "training": TrainingConfig(dtype="float32", rows_per_pass=3),
        "seed": 5,
        "folder": folder,
    }
    return FineTuneJob(**{**settings, **changes})
