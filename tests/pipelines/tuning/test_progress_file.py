from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import InputError, StageFailed
from pipelines.tuning.progress_file import Listener, Reporter


@dataclass
class Bar:
    done: int = 0
    notes: list[str] = field(default_factory=list)

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.notes.append(note)


def test_what_a_worker_reports_is_shown_once(tmp_path: Path) -> None:
    reporter, bar = Reporter(tmp_path / "news"), Bar()
    listener = Listener(tmp_path / "news", bar)
    listener.listen()
    reporter.started(examples=42, done=21, dtype="bfloat16", num_workers=2)
    reporter.stepped(8, epoch=2, loss=0.5)
    listener.listen()
    reporter.validated(2, 0.25)
    listener.listen()
    listener.listen()
    assert bar.done == 29
    assert bar.notes[-1] == "bfloat16, epoch 2, loss 0.500, D_val 0.250"
    assert len(bar.notes) == 3


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    bar = Bar()
    listener = Listener(tmp_path / "news", bar)
    whole = '{"event": "stepped", "examples": 8, "epoch": 1, "loss": 1.0}\n'
    (tmp_path / "news").write_text(whole + whole[:20])
    listener.listen()
    assert bar.done == 8
    (tmp_path / "news").write_text(whole + whole)
    listener.listen()
    assert bar.done == 16


def test_a_users_error_keeps_its_kind_and_another_becomes_a_failed_stage(tmp_path: Path) -> None:
    reporter = Reporter(tmp_path / "news")
    listener = Listener(tmp_path / "news", Bar())
    reporter.failed(InputError("row 3 is too long"))
    listener.listen()
    assert isinstance(listener.failure, InputError)
    assert str(listener.failure) == "row 3 is too long"
    reporter.failed(ValueError("two\nlines"))
    listener.listen()
    assert isinstance(listener.failure, StageFailed)
    assert str(listener.failure) == "ValueError: two lines"


def test_other_workers_report_nothing() -> None:
    Reporter(None).stepped(8, 1, 0.5)
