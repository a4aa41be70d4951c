from pathlib import Path

from benchmarks.fault_records import (
    BY_HAND,
    COLUMNS,
    SAME_COMMAND,
    WENT_ON,
    Record,
    append,
    read,
    show,
    summary,
)


def record(kind: str = "driver killed", **given: object) -> Record:
    values = {"seed": 0, "run": 1, "moment": "m", "did": "d", "outcome": SAME_COMMAND} | given
    return Record(kind=kind, **values)  # type: ignore[arg-type]


def test_a_row_counts_what_became_of_the_faults_of_a_kind() -> None:
    rows = summary(
        [
            record(seconds=30.0, prompts_again=2, gone_seconds=11.0),
            record(outcome=WENT_ON, seconds=10.0, left=["process 7"]),
            record(outcome=BY_HAND, epochs_again=0.5, prompts_again=6),
            record("torn commit", lost=1),
        ]
    )
    killed = dict(zip(COLUMNS, rows[0], strict=True))
    assert (killed["tried"], killed["survived"]) == ("3", "2")
    assert (killed["went on"], killed["same command"], killed["by hand"]) == ("1", "1", "1")
    assert (killed["prompts again"], killed["epochs again"]) == ("6", "0.5")
    assert (killed["seconds, median"], killed["max"]) == ("20", "30")
    assert (killed["processes gone after"], killed["left"]) == ("11 s", "1")
    assert rows[1][:3] == ("torn commit", "1", "0")
    assert rows[2][:3] == ("all", "4", "2")


def test_records_of_several_calls_are_one_table(tmp_path: Path) -> None:
    file = tmp_path / "faults.jsonl"
    append(file, [record()])
    append(file, [record("raylet killed", outcome="failed", said="restem: a reason")])
    table = show(read(file))
    assert "| driver killed | 1 | 1 |" in table
    assert "raylet killed, seed 0, run 1, m: failed; 0 lost" in table
    assert table.endswith("restem: a reason")


def test_more_than_a_chunk_or_an_epoch_again_is_not_survived() -> None:
    assert record(prompts_again=6, epochs_again=1.0).survived
    assert not record(prompts_again=7).survived
    assert not record(epochs_again=1.1).survived
    assert not record(differing=1).survived
