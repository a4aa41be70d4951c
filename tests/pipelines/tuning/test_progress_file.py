from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import InputError, StageFailed
from pipelines.tuning.progress_file import ProgressReader, ProgressWriter


@dataclass
class Bar:
    done: int = 0
    notes: list[str] = field(default_factory=list)

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.notes.append(note)


def test_an_event_is_shown_once(tmp_path: Path) -> None:
    writer, bar = ProgressWriter(tmp_path / "progress.jsonl"), Bar()
    reader = ProgressReader(tmp_path / "progress.jsonl", bar)
    reader.update()
    writer.started(examples=42, done=21, dtype="bfloat16", num_workers=2)
    writer.stepped(8, epoch=2, loss=0.5)
    reader.update()
    writer.validated(2, 0.25)
    reader.update()
    reader.update()
    assert bar.done == 29
    assert bar.notes[-1] == "bfloat16, epoch 2, loss 0.500, D_val 0.250"
    assert len(bar.notes) == 3


def test_a_resumed_job_says_where_it_goes_on(tmp_path: Path) -> None:
    writer, bar = ProgressWriter(tmp_path / "progress.jsonl"), Bar()
    where = "epoch 2, step 2 of 3"
    writer.started(examples=42, done=29, dtype="float32", num_workers=1, resumed=where)
    writer.stepped(8, epoch=2, loss=0.5)
    ProgressReader(tmp_path / "progress.jsonl", bar).update()
    assert bar.notes[-1] == "float32, resumed at epoch 2, step 2 of 3, epoch 2, loss 0.500"


def test_a_half_written_line_is_read_later(tmp_path: Path) -> None:
    bar = Bar()
    reader = ProgressReader(tmp_path / "progress.jsonl", bar)
    whole = '{"event": "stepped", "examples": 8, "epoch": 1, "loss": 1.0}\n'
    (tmp_path / "progress.jsonl").write_text(whole + whole[:20])
    reader.update()
    assert bar.done == 8
    (tmp_path / "progress.jsonl").write_text(whole + whole)
    reader.update()
    assert bar.done == 16


def test_our_own_errors_keep_their_class_and_others_become_stage_failed(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path / "progress.jsonl")
    reader = ProgressReader(tmp_path / "progress.jsonl", Bar())
    writer.failed(InputError("row 3 is too long"))
    reader.update()
    assert isinstance(reader.failure, InputError)
    assert str(reader.failure) == "row 3 is too long"
    writer.failed(ValueError("two\nlines"))
    reader.update()
    assert isinstance(reader.failure, StageFailed)
    assert str(reader.failure) == "ValueError: two lines"


def test_without_a_path_nothing_is_written() -> None:
    ProgressWriter(None).stepped(8, 1, 0.5)
