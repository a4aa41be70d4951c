"""An engine on a GPU asks for its memory before anything that could take some is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SAMPLER = """
import sys
from functools import partial
import ray
from pipelines.config import EngineConfig, ModelConfig
from pipelines.errors import MachineError
from pipelines.placement.nvidia import wait_for_free_memory
from pipelines.sampling import vllm_sampler

ray.get_gpu_ids = lambda: [0]  # as in an actor that owns a GPU
vllm_sampler.wait_for_free_memory = partial(wait_for_free_memory, seconds=0)
try:
    vllm_sampler.VllmSampler("folder", ModelConfig(), EngineConfig(gpu_memory_utilization=0.8))
except MachineError as error:
    print(error)
print("imported:", sorted({"torch", "vllm"} & set(sys.modules)))
"""


def test_an_engine_whose_gpu_is_filled_names_who_holds_it_before_it_starts(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        'case "$1" in *gpu=*) echo "0, GPU-a, NVIDIA L4, 23034, 900, 8.9, 580.65.06" ;;\n'
        '*) echo "GPU-a, 4711, /usr/bin/train, 22000" ;; esac\n'
    )
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-c", SAMPLER],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    refused, imported = done.stdout.splitlines()
    assert refused.startswith("engine.gpu_memory_utilization: 0.8 of a GPU's memory must be free")
    assert "train (process 4711, 21.5 GiB)" in refused
    assert imported == "imported: []"
