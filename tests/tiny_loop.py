"""A whole run on a tiny random model: its problems, its reward, its configuration, its command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.tiny_model import build_tiny_model

ROOT = Path(__file__).resolve().parents[1]


def sums(num_train: int, num_validation: int, num_test: int, seed: int) -> Iterator[dict[str, str]]:
    """Problems of one addition, all different."""
    splits = ["train"] * num_train + ["validation"] * num_validation + ["test"] * num_test
    for number, split in enumerate(splits):
        a, b = 1 + number, 2 + seed % 7
        yield {"question": f"{a} + {b}", "answer": str(a + b), "split": split}


def other_sums(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Problems that `sums` does not have."""
    for number in range(count):
        yield {"question": f"{500 + number} + 1", "answer": str(501 + number)}


def has_an_even_length(solution: str, reference: str) -> float:
    """A reward that a random model earns now and then: about half of its solutions."""
    return float(len(solution) % 2 == 0)


def write_project(folder: Path, num_iterations: int = 2, **sections: dict[str, Any]) -> Path:
    """A model and a configuration in `folder`; returns the configuration's path."""
    model = folder / "model"
    if not model.exists():
        build_tiny_model(model)
    tree: dict[str, Any] = {
        "name": "tiny",
        "num_iterations": num_iterations,
        "output": str(folder / "data"),
        "model": {"base_model": str(model), "max_model_len": 128},
        "problems": {
            "sources": [
                {
                    "kind": "generator",
                    "location": "tests.tiny_loop:sums",
                    "options": {"num_train": 24, "num_validation": 6, "num_test": 12, "seed": 0},
                    "split_field": "split",
                }
            ]
        },
        "prompt": {"exemplars": [{"question": "1 + 1", "solution": "2"}]},
        "sampling": {"num_samples_per_problem": 4, "max_tokens": 8, "temperature": 1.0},
        "reward": {"function": "python:tests.tiny_loop:has_an_even_length"},
        "curate": {"cutoff": 3},
        "improve": {"learning_rate": 1e-3, "max_epochs": 2, "batch_size": 8},
        "evaluation": {
            "pass_at_k": {"num_samples": 4, "temperature": 1.0, "top_p": 0.95},
            "k": [1, 4],
        },
        "engine": {"chunk_prompts": 6, "kv_cache_gib": 0.25, "max_num_seqs": 64},
        "lake": {"uri": str(folder / "lake")},
        "mlflow": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"},
    }
    for section, changes in sections.items():
        tree[section] = {**tree.get(section, {}), **changes}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def start(*arguments: str) -> subprocess.Popen[str]:
    """`restem ARGUMENTS` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "140"},
    )


def restem(*arguments: str, timeout: float = 580) -> tuple[int, str]:
    """Run `restem ARGUMENTS` to its end: exit code and what it printed."""
    process = start(*arguments)
    try:
        printed, _ = process.communicate(timeout=timeout)
    finally:
        kill_group(process)
    return process.returncode, printed


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL the process and all that it started in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
