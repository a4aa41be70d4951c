from pathlib import Path

import pytest

from pipelines.config import TrainingConfig
from pipelines.tuning.job import FineTuneJob, kept_epoch, should_stop
from tests.pipelines.tuning.rows import write_job


@pytest.mark.parametrize(
    ("rewards", "keep", "epoch"),
    [
        ([0.1, 0.3, 0.2], "best", 2),
        ([0.3, 0.3, 0.1], "best", 1),
        ([0.0, 0.0], "best", 1),
        ([0.3, 0.1], "last", 2),
        ([None, None], "best", 2),
    ],
)
def test_the_earliest_best_epoch_is_kept(
    rewards: list[float | None], keep: str, epoch: int
) -> None:
    assert kept_epoch(rewards, keep) == epoch


@pytest.mark.parametrize(
    ("rewards", "patience", "stops"),
    [
        ([], 1, False),
        ([0.2], 1, False),
        ([0.2, 0.2], 1, True),
        ([0.2, 0.1], 2, False),
        ([0.2, 0.1, 0.2], 2, True),
        ([0.2, 0.1, 0.3], 2, False),
        ([0.1, 0.2, 0.3, 0.4], 1, True),
        ([None, None], 1, False),
        ([None, None, None, None], 1, True),
    ],
)
def test_training_stops_when_reward_no_longer_improves(
    rewards: list[float | None], patience: int, stops: bool
) -> None:
    assert should_stop(rewards, patience, max_epochs=4) is stops


def test_a_job_survives_its_json(tmp_path: Path) -> None:
    job = write_job(tmp_path, tmp_path)
    assert FineTuneJob.model_validate_json(job.model_dump_json()) == job


def test_the_fingerprint_follows_settings_and_rows_but_not_workers(tmp_path: Path) -> None:
    job = write_job(tmp_path, tmp_path)
    elsewhere = write_job(tmp_path / "moved", tmp_path, training=TrainingConfig(num_workers=2))
    assert elsewhere.fingerprint() == job.fingerprint()
    assert write_job(tmp_path, tmp_path, seed=6).fingerprint() != job.fingerprint()
    (tmp_path / "moved" / "train.parquet").write_bytes(b"other rows")
    assert elsewhere.fingerprint() != job.fingerprint()
