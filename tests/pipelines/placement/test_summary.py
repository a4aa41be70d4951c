from __future__ import annotations

import pytest

from pipelines.placement.cluster import Cluster
from pipelines.placement.model_memory import RowLengths
from pipelines.placement.summary import placement_lines
from tests.pipelines.placement.machines import (
    CPU_HEAD,
    EIGHT_GPUS,
    ON_A_PROCESSOR,
    ONE_GPU,
    TWO_NODES,
    held,
)
from tests.pipelines.placement.test_faults import BOTH, HALF_B, run_config

ON_RAY = {"launcher": "ray", "num_workers": 8}


def test_one_gpu_is_told_with_what_engine_and_worker_hold() -> None:
    machine, engines, engine, workers, worker = placement_lines(
        run_config(), ONE_GPU, HALF_B, BOTH, RowLengths(100, 500)
    )
    assert machine == "a: 16 cores, 1 GPU (1 NVIDIA H100 80 GiB)"
    assert engines == "generate: 1 engine on 1 GPU"
    assert "0.9 GiB of weights in bfloat16 and 68.1 GiB of KV cache of the 72.0 GiB" in engine
    assert "5,948,279 tokens, 5,808 solutions of model.max_model_len = 1,024 at once" in engine
    assert workers == "improve: 1 worker on 1 GPU, started by torchrun"
    assert "9.3 GiB of weights, gradients, AdamW (18 bytes for each of 494,032,768" in worker
    assert "for 16 rows of 500 tokens per pass in bfloat16, of the 72.0 GiB" in worker
    assert "shorter" not in worker  # a batch has no more rows


@pytest.mark.parametrize(
    ("cluster", "engine", "training", "lines"),
    [
        (
            EIGHT_GPUS,
            {"replicas": 4, "tensor_parallel": 2},
            {"num_workers": 8},
            [
                "a: 96 cores, 8 GPUs (8 NVIDIA H100 80 GiB)",
                "generate: 4 engines on 2 GPUs each",
                "improve: 8 workers on 1 GPU each, started by torchrun",
            ],
        ),
        (
            CPU_HEAD,
            {"replicas": 8},
            ON_RAY,
            [
                "head: 8 cores, no GPU",
                "a: 32 cores, 4 GPUs (4 NVIDIA H100 80 GiB)",
                "b: 32 cores, 4 GPUs (4 NVIDIA H100 80 GiB)",
                "generate: 8 engines on 1 GPU each",
                "improve: 8 workers on 1 GPU each, started by ray",
            ],
        ),
        (
            TWO_NODES,
            {"replicas": 2, "tensor_parallel": 8},
            {"launcher": "ray", "num_workers": 16},
            [
                "a: 96 cores, 8 GPUs (8 NVIDIA H100 80 GiB)",
                "b: 96 cores, 8 GPUs (8 NVIDIA H100 80 GiB)",
                "generate: 2 engines on 8 GPUs each",
                "improve: 16 workers on 1 GPU each, started by ray",
            ],
        ),
        (
            ON_A_PROCESSOR,
            {},
            {"num_workers": 2},
            [
                "this machine: 2 cores, no GPU",
                "generate: 1 engine on 2 cores",
                "improve: 2 workers on 1 core each, started by torchrun",
            ],
        ),
    ],
)
def test_placement_is_told_also_of_a_model_that_states_no_sizes(
    cluster: Cluster, engine: dict[str, object], training: dict[str, object], lines: list[str]
) -> None:
    config = run_config(engine=engine, training=training)
    assert placement_lines(config, cluster, None, BOTH) == lines


def test_the_rows_of_a_pass_are_asked_for_or_estimated() -> None:
    (*_, worker) = placement_lines(
        run_config(training={"rows_per_pass": 6}), ONE_GPU, HALF_B, ("improve",)
    )
    assert "for 6 rows of 1,024 tokens per pass" in worker
    long = run_config(improve={"batch_size": 512})
    (*_, worker) = placement_lines(long, ONE_GPU, HALF_B, ("improve",))
    assert "for 32 rows of 1,024 tokens per pass" in worker
    assert "shorter rows allow more" in worker
    eight = run_config(training={"num_workers": 8})  # a batch of 16 is 2 rows for each
    (*_, worker) = placement_lines(eight, EIGHT_GPUS, HALF_B, ("improve",))
    assert "for 2 rows of 1,024 tokens per pass" in worker


def test_a_processor_has_the_cache_that_is_set_and_sixteen_bytes_per_parameter() -> None:
    config = run_config(engine={"dtype": "float32"}, training={"dtype": "float32"})
    lines = placement_lines(config, ON_A_PROCESSOR, HALF_B, BOTH)
    assert "1.8 GiB of weights in float32 and 2.0 GiB of KV cache (engine.kv_cache_gib)" in lines[2]
    assert "87,381 tokens, 85 solutions" in lines[2]
    assert "7.4 GiB of memory for weights, gradients and AdamW (16 bytes for each" in lines[4]
    assert "1,024 tokens per pass" in lines[4]


def test_stages_that_are_done_are_not_placed() -> None:
    lines = placement_lines(run_config(), held(ONE_GPU), None, ("generate",))
    assert lines[1:] == ["generate: 1 engine on 1 GPU"]
