"""The training function under Ray Train, for clusters; the job's folder must be shared."""

from __future__ import annotations

import threading

from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from pipelines.errors import StageFailed
from pipelines.runtime.hardware import has_gpu, usable_cores
from pipelines.tuning.job import PROGRESS_FILE, FineTuneJob
from pipelines.tuning.progress_file import ProgressReader, ProgressWriter
from pipelines.tuning.worker import run_worker

POLL_SECONDS = 1.0


def run_on_ray(job: FineTuneJob, reader: ProgressReader) -> None:
    """Run the job's workers as a Ray Train worker group.

    Raises:
        StageFailed: Ray Train failed.
    """
    num_workers = job.training.num_workers
    resources = {"CPU": 1.0} if has_gpu() else {"CPU": max(1.0, usable_cores() // num_workers)}
    trainer = TorchTrainer(
        _train_loop,
        train_loop_config={"job": job.model_dump_json()},
        scaling_config=ScalingConfig(
            num_workers=num_workers, use_gpu=has_gpu(), resources_per_worker=resources
        ),
        run_config=RunConfig(name="ray", storage_path=str(job.folder.absolute())),
    )
    ended = threading.Event()
    thread = threading.Thread(target=_read_until, args=(ended, reader), daemon=True)
    thread.start()
    try:
        trainer.fit()
    except Exception as error:  # Ray wraps what a worker raised in several kinds of its own
        last = str(error).strip().splitlines()[-1]
        raise reader.failure or StageFailed(f"fine-tuning on Ray failed: {last}") from error
    finally:
        ended.set()
        thread.join()


def _train_loop(settings: dict[str, str]) -> None:
    job = FineTuneJob.model_validate_json(settings["job"])
    try:
        run_worker(job)
    except Exception as error:
        ProgressWriter(job.folder / PROGRESS_FILE).failed(error)
        raise


def _read_until(ended: threading.Event, reader: ProgressReader) -> None:
    while not ended.wait(POLL_SECONDS):
        reader.update()
    reader.update()
