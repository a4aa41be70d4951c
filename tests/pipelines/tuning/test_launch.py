from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from jobs.machine.sessions import ray_session
from pipelines.config import ImproveConfig, RayConfig, RewardConfig, TrainingConfig
from pipelines.errors import InputError
from pipelines.runtime.progress import SilentProgress
from pipelines.tuning.job import FineTuneJob, FineTuneResult
from pipelines.tuning.launch import explain_failure, fine_tune, worker_command
from tests.pipelines.tuning.rows import write_job
from tests.tiny_model import build_tiny_model

EPOCHS = ImproveConfig(learning_rate=3e-3, batch_size=8, max_epochs=3, patience=3)

AGENT = """Root Cause (first observed failure):
[0]:
  exitcode  : -9 (pid: 7)
  error_file: <N/A>
  traceback : {why}
============================================================
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def run(job: FineTuneJob) -> FineTuneResult:
    return fine_tune(job, 21, SilentProgress())


def test_one_worker_needs_no_agent(tmp_path: Path) -> None:
    job = write_job(tmp_path, tmp_path)
    assert worker_command(job)[1:3] == ["-m", "pipelines.tuning.worker"]
    two = job.model_copy(update={"training": TrainingConfig(num_workers=2)})
    assert "--nproc-per-node=2" in worker_command(two)
    # Else it leaves a folder among the machine's temporary files.
    assert f"--log-dir={job.folder}/torchrun" in worker_command(two)


@pytest.mark.parametrize(
    ("code", "printed", "said"),
    [
        (-9, "loading", "a worker was killed, most likely for memory"),
        (1, AGENT.format(why="Signal 9 (SIGKILL) received by PID 7"), "a worker was killed, most"),
        (1, AGENT.format(why="To enable traceback see: https"), "To enable traceback see"),
        (4, "ValueError: no\n\n", "ValueError: no"),
        (4, "", "no output"),
    ],
)
def test_a_failure_is_explained_from_the_log(
    tmp_path: Path, code: int, printed: str, said: str
) -> None:
    log = tmp_path / "log"
    log.write_text(printed)
    assert said in explain_failure(code, log)


@pytest.mark.slow
def test_two_workers_give_the_curve_of_one(start: Path, tmp_path: Path) -> None:
    one = run(write_job(tmp_path / "one", start, validation=True, improve=EPOCHS))
    # The state is saved after each step, as the first worker's clock says.
    training = TrainingConfig(dtype="float32", rows_per_pass=3, num_workers=2, save_minutes=1e-9)
    job = write_job(tmp_path / "two", start, validation=True, improve=EPOCHS, training=training)
    two = run(job)
    assert (one.world_size, two.world_size) == (1, 2)
    assert two.num_epochs == one.num_epochs
    for a, b in zip(one.history, two.history, strict=True):
        assert b.step_losses == pytest.approx(a.step_losses, abs=1e-4)
        assert b.validation_reward == a.validation_reward
    assert run(job) == two  # finished: returned, not run again


@pytest.mark.slow
def test_a_folder_without_a_model_is_the_users_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: its tokenizer cannot be loaded") as caught:
        run(write_job(tmp_path / "job", tmp_path / "empty"))
    assert "\n" not in str(caught.value)


def found_by_a_worker(folder: Path, marks: Path) -> Path:
    """The start policy's folder; leaves a file named like the process that asks."""
    (marks / str(os.getpid())).touch()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "ray"])
def test_the_start_policy_is_looked_for_where_it_is_loaded(
    start: Path, tmp_path: Path, launcher: Literal["torchrun", "ray"]
) -> None:
    training = TrainingConfig(dtype="float32", rows_per_pass=3, launcher=launcher)
    job = write_job(tmp_path / "job", Path("nowhere"), training=training)
    for epoch in (1, 2):  # links that an earlier policy left, which is lost
        (job.folder / f"epoch-{epoch}").symlink_to(tmp_path / "lost")
    marks = tmp_path / "marks"
    marks.mkdir()
    with ray_session(RayConfig(num_cpus=2)) if launcher == "ray" else nullcontext():
        find = partial(found_by_a_worker, start, marks)
        result = fine_tune(job, 21, SilentProgress(), find)
    assert result.checkpoint.is_dir()
    (process,) = marks.iterdir()
    # torchrun's workers are on this machine, so it is looked for once, before them.
    assert (process.name == str(os.getpid())) is (launcher == "torchrun")


@pytest.mark.slow
def test_a_row_that_is_too_long_is_the_users_error(start: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none of the 21 rows has at most model\.max_model_len = 16"
    ):
        run(write_job(tmp_path, start, max_model_len=16))


@pytest.mark.slow
def test_a_reward_that_cannot_be_loaded_is_reported(start: Path, tmp_path: Path) -> None:
    missing = RewardConfig(function="python:no_such_module:reward")
    with pytest.raises(Exception, match="no_such_module"):
        run(write_job(tmp_path, start, validation=True, reward=missing))


@pytest.mark.slow
def test_a_killed_training_is_resumed_and_leaves_no_process(start: Path, tmp_path: Path) -> None:
    improve = EPOCHS.model_copy(update={"max_epochs": 40, "patience": 40})
    job = write_job(tmp_path, start, validation=True, improve=improve)
    code = (
        "from pathlib import Path; from pipelines.runtime.progress import SilentProgress;"
        "from pipelines.tuning.job import FineTuneJob; from pipelines.tuning.launch import fine_tune;"
        f"job = FineTuneJob.model_validate_json({job.model_dump_json()!r});"
        "fine_tune(job, 21, SilentProgress())"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not (tmp_path / "state.pt").exists():
        assert time.monotonic() < deadline
        assert parent.poll() is None
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    time.sleep(1)
    assert not _processes_naming(str(tmp_path))
    assert not (tmp_path / "result.json").exists()
    result = run(job)
    assert result.num_epochs == 40
    first = (tmp_path / "progress.jsonl").read_text().splitlines()[0]
    assert '"done": 0' not in first


@pytest.mark.slow
@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_a_worker_waits_for_its_gpus_memory_before_it_touches_the_gpu(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.tuning.worker import run_worker

    # The engine holds the memory when it is first looked at, and has left at the third look.
    looks = tmp_path / "looks"
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        f'case "$1" in *gpu=*) echo look >> {looks};; *) exit 0;; esac\n'
        f"if [ $(wc -l < {looks}) -ge 3 ]; then free=23000; else free=900; fi\n"
        'echo "0, GPU-a, NVIDIA L4, 23034, $free, 8.9, 580.65.06"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    job = write_job(tmp_path / "job", start)
    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)nvidia|cuda"):
        run_worker(job, "cuda:0")  # There is no such GPU: what comes after the wait fails in torch.
    assert len(looks.read_text().splitlines()) == 3


def _processes_naming(text: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and "pipelines.tuning" in command:
            found.append(command)
    return found
