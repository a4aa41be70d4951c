from __future__ import annotations

import pytest

from pipelines.config import TrainingConfig
from pipelines.errors import ConfigError, MachineError
from pipelines.placement.cluster import Cluster
from pipelines.placement.fit import training_format
from pipelines.placement.model_memory import ModelShape, PassSize, pass_bytes, state_bytes
from pipelines.placement.training import (
    TrainingPlacement,
    longest_row,
    place_training,
    rows_per_pass,
    training_environment,
)
from tests.pipelines.placement.machines import (
    CPU_HEAD,
    EIGHT_GPUS,
    FOUR_GPUS,
    LAPTOP,
    ONE_GPU,
    ONLY_CPUS,
    TWO_NODES,
    gpu,
    node,
)

SMALL = ModelShape(494_000_000, 24, 14, 2, 64, 896, 4864, 151_936)


@pytest.mark.parametrize(
    ("cluster", "launcher", "workers"),
    [
        (ONE_GPU, "torchrun", 1),
        (ONE_GPU, "ray", 1),
        (FOUR_GPUS, "torchrun", 4),
        (EIGHT_GPUS, "torchrun", 8),
        (EIGHT_GPUS, "ray", 8),
        (TWO_NODES, "ray", 16),
        (CPU_HEAD, "ray", 8),
    ],
)
def test_each_worker_has_one_gpu(cluster: Cluster, launcher: str, workers: int) -> None:
    training = TrainingConfig.model_validate({"launcher": launcher, "num_workers": workers})
    assert place_training(cluster, training) == TrainingPlacement(workers, 1, 1, "nccl")


def test_a_processor_as_head_does_not_train_while_the_cluster_has_gpus() -> None:
    assert place_training(CPU_HEAD, TrainingConfig(launcher="ray")).num_gpus == 1
    with pytest.raises(ConfigError, match=r"must be ray, got 'torchrun'.*8 GPUs on 2 nodes"):
        place_training(CPU_HEAD, TrainingConfig(launcher="torchrun"))


def test_torchrun_takes_no_gpu_that_ray_may_give_to_others() -> None:
    with pytest.raises(ConfigError, match="Ray does not know of torchrun's workers"):
        place_training(TWO_NODES, TrainingConfig(launcher="torchrun"))
    assert place_training(EIGHT_GPUS, TrainingConfig(launcher="torchrun")).num_gpus == 1


@pytest.mark.parametrize(
    ("cluster", "launcher", "workers", "most"),
    [(ONE_GPU, "torchrun", 2, 1), (FOUR_GPUS, "ray", 5, 4), (TWO_NODES, "ray", 17, 16)],
)
def test_more_workers_than_gpus_are_refused(
    cluster: Cluster, launcher: str, workers: int, most: int
) -> None:
    training = TrainingConfig.model_validate({"launcher": launcher, "num_workers": workers})
    with pytest.raises(
        ConfigError, match=f"training.num_workers must be <= {most}, .*, got {workers}; lower it"
    ):
        place_training(cluster, training)


def test_without_gpus_workers_share_cores_and_no_worker_spans_nodes() -> None:
    assert place_training(LAPTOP, TrainingConfig()) == TrainingPlacement(1, 2, 0, "gloo")
    assert place_training(LAPTOP, TrainingConfig(num_workers=2)).num_cpus == 1
    assert place_training(LAPTOP, TrainingConfig(num_workers=3)).num_cpus == 1
    on_ray = TrainingConfig(launcher="ray", num_workers=2)
    assert place_training(ONLY_CPUS, on_ray).num_cpus == 16
    assert place_training(ONLY_CPUS, on_ray.model_copy(update={"num_workers": 3})).num_cpus == 8
    assert place_training(ONLY_CPUS, TrainingConfig(num_workers=2)).num_cpus == 8


def test_workers_ask_for_no_more_cores_than_a_node_of_many_gpus_has() -> None:
    few_cores = Cluster((node("a", 4, 8),))
    training = TrainingConfig(launcher="ray", num_workers=8)
    assert place_training(few_cores, training).num_cpus == 0.5


def test_workers_number_gpus_as_nvidia_smi_numbers_them() -> None:
    assert training_environment()["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("requested", "capability", "dtype"),
    [
        ("auto", (9, 0), "bfloat16"),
        ("auto", (7, 5), "float32"),  # where sampling is in float16
        ("float32", (9, 0), "float32"),
    ],
)
def test_training_computes_in_bfloat16_or_float32(
    requested: str, capability: tuple[int, int], dtype: str
) -> None:
    assert training_format(requested, [gpu(capability=capability)]) == dtype


def test_a_pass_takes_the_most_rows_that_fit_in_powers_of_two() -> None:
    state = state_bytes(SMALL, "bfloat16")
    largest = PassSize(16, 1024, 0)
    fits = {rows: pass_bytes(SMALL, "bfloat16", largest.of(rows)) for rows in (1, 2, 4, 8, 16)}
    for rows, size in fits.items():
        assert rows_per_pass(SMALL, "bfloat16", state + size, largest) == rows
        if rows > 1:
            assert rows_per_pass(SMALL, "bfloat16", state + size - 1, largest) == rows // 2


def test_a_row_that_does_not_fit_alone_is_refused_with_the_ways_out() -> None:
    longest = PassSize(16, 1024, 100)
    budget = state_bytes(SMALL, "bfloat16") + pass_bytes(SMALL, "bfloat16", longest.of(1))
    assert rows_per_pass(SMALL, "bfloat16", budget, longest) == 1
    with pytest.raises(MachineError, match="its longest row has 1124 tokens") as caught:
        rows_per_pass(SMALL, "bfloat16", budget - 1, longest)
    message = str(caught.value)
    assert "<= 13.1 GiB (training.gpu_memory_utilization)" in message
    assert "training.rows_per_pass: 1" in message
    assert "\n" not in message


def test_the_longest_row_that_fits_is_exact() -> None:
    state = state_bytes(SMALL, "float32")
    for tokens in (1, 100, 1023, 1024):
        budget = state + pass_bytes(SMALL, "float32", PassSize(1, tokens, 0))
        assert longest_row(SMALL, "float32", budget, 1024) == tokens
        assert longest_row(SMALL, "float32", budget - 1, 1024) == tokens - 1
    assert longest_row(SMALL, "float32", 10**13, 1024) == 1024
    assert longest_row(SMALL, "float32", 0, 1024) == 0


def test_a_pass_holds_no_more_rows_than_a_workers_share_of_a_batch() -> None:
    budget = 10**12
    assert rows_per_pass(SMALL, "bfloat16", budget, PassSize(2, 1024, 0)) == 2
    assert rows_per_pass(SMALL, "bfloat16", budget, PassSize(3, 1024, 0)) == 4
