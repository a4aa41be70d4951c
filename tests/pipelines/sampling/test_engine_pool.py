from pathlib import Path

from pipelines.config import EngineConfig
from pipelines.sampling.engine_pool import Resources, last_error, resources


def test_a_gpu_engine_takes_its_tensor_parallel_gpus() -> None:
    engine = EngineConfig(tensor_parallel=4, replicas=2)
    assert resources({"CPU": 64, "GPU": 8}, 64, engine) == Resources(num_cpus=1, num_gpus=4)


def test_cpu_engines_share_the_cores_of_a_node() -> None:
    assert resources({"CPU": 16}, 16, EngineConfig()) == Resources(16, 0)
    assert resources({"CPU": 16}, 16, EngineConfig(replicas=3)) == Resources(5, 0)
    assert resources({"CPU": 32}, 16, EngineConfig(replicas=1)) == Resources(16, 0)
    assert resources({"CPU": 2}, 2, EngineConfig(replicas=4)) == Resources(1, 0)


def test_the_last_error_of_a_log_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    assert last_error(log) is None
    old = "ValueError: of an earlier start\n"
    log.write_text(
        f"{old}INFO no errors here\nTraceback (most recent call last):\n  File x\n"
        "torch.OutOfMemoryError: tried to allocate 20 GiB\nINFO bye\n"
    )
    assert last_error(log) == "torch.OutOfMemoryError: tried to allocate 20 GiB"
    log.write_text(f"{old}INFO bye\n")
    assert last_error(log, len(old)) is None
