"""Exams graded by hand: out as a page and a sheet, and the marks back in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.machine.sessions import Sessions
from jobs.show.console import console
from pipelines.errors import ConfigError
from pipelines.lake.answers import quoted
from pipelines.lake.lake import open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.stored_run import stored_config
from pipelines.results.grading.exam import Exam, read_exam
from pipelines.results.grading.marks import check_marks, row_key
from pipelines.results.grading.page import write_page
from pipelines.results.grading.record import Recorded, record
from pipelines.results.grading.sheet import SheetRow, read_sheet, write_sheet
from pipelines.results.grading.totals import DISAGREEMENT, POINTS, SHARE
from pipelines.runs.check_context import ExpectationGate
from pipelines.runtime.progress import SilentProgress

if TYPE_CHECKING:
    from pipelines.lake.snapshot import TableSnapshot
    from pipelines.metrics.estimates import Estimate

_GRADER = re.compile(r"\w[\w .-]{0,99}")


def export(
    location: Location,
    run: str,
    suite: str,
    folder: Path,
    iteration: int | None,
    decoding: str | None,
    max_points: float,
) -> None:
    """Write a suite's page and sheet into a folder, and say what to do with them.

    Raises:
        ConfigError: the run has no such samples, or the folder cannot be written.
    """
    if not 0 < max_points < float("inf"):
        raise ConfigError(f"--max-points must be a number > 0, got {max_points:g}")
    exam = read_exam(LakeReader(location), run, suite, iteration, decoding, max_points)
    name = re.sub(r"[^\w.-]+", "_", suite)
    page = folder / f"{name}-{exam.iteration}.html"
    sheet = folder / f"{name}-{exam.iteration}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_page(exam, page)
        _write_new_sheet(exam, sheet)
    except OSError as error:
        raise ConfigError(f"--output: cannot write {error.filename}: {error.strerror}") from None
    out = console()
    out.print(
        f"{len(exam.questions)} problems, {exam.num_solutions} solutions of iteration "
        f"{exam.iteration} ({exam.decoding}), {exam.max_points:g} points"
    )
    out.print(f"  to read, print, or mark in a browser: {page}")
    out.print(f"  to mark in a spreadsheet: {sheet}")
    out.print(f"then: restem grade import {run} FILE.csv --grader NAME")


def import_marks(
    location: Location, run: str, files: Sequence[Path], grader: str, *, replace: bool
) -> None:
    """Read the marks of one grader, commit them and their totals, and print those.

    Raises:
        RestEMError: a row is not as it must be, or the marks are there and differ. Nothing is
            written then.
    """
    if not _GRADER.fullmatch(grader):
        raise ConfigError(
            f"--grader must be a name of letters, digits, spaces, '.', '_' and '-', got {grader!r}"
        )
    reader = LakeReader(location)
    config = stored_config(reader, location, run)
    rows = [row for path in files for row in read_sheet(path)]
    marks = check_marks(rows, _exams(reader, run, rows))
    sessions = Sessions(config, SilentProgress())
    listener = _Unfollowed(reader, run)
    with sessions, open_lake(config, sessions, ExpectationGate(config), listener) as lake:
        recorded = record(lake, marks, grader, replace=replace)
    for each in recorded:
        _show(each, grader)


def _write_new_sheet(exam: Exam, path: Path) -> None:
    """Write the sheet, unless one is there: it may be filled in."""
    if path.exists():
        raise ConfigError(f"--output: {path} is there, and may hold marks; choose another folder")
    write_sheet(exam, path)


def _exams(reader: LakeReader, run: str, rows: Sequence[SheetRow]) -> list[Exam]:
    """The exams that the rows are about, as they are in the lake."""
    keys = {key for row in rows if (key := row_key(row)) is not None}
    if not keys:
        return []
    ids = ", ".join(quoted(sample_id) for _, sample_id in sorted(keys))
    found = reader.rows(
        f"SELECT sample_id, purpose, iteration, decoding FROM samples WHERE sample_id IN ({ids})",
        run,
    )
    parts = {
        (row["purpose"], row["iteration"], row["decoding"])
        for row in found
        if (row["iteration"], row["sample_id"]) in keys
    }
    return [read_exam(reader, run, *part) for part in sorted(parts)]


def _show(recorded: Recorded, grader: str) -> None:
    out = console()
    what = "were there already" if recorded.is_repeat else "are recorded"
    out.print(f"suite {recorded.suite}, iteration {recorded.iteration}: marks by {grader} {what}")
    points, share = recorded.totals[POINTS], recorded.totals[SHARE]
    out.print(f"  points  {_interval(points)} over {points.n} problems")
    out.print(f"  share   {_interval(share)}")
    out.print(f"  graders {', '.join(recorded.graders)}")
    apart = recorded.totals.get(DISAGREEMENT)
    if apart is not None:
        out.print(f"  they are apart by {_interval(apart)} of a problem's points")


def _interval(found: Estimate) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"


class _Unfollowed:
    """A listener for work outside the loop: the run's name in the tracker, and nothing told to it."""

    def __init__(self, reader: LakeReader, run: str) -> None:
        self._run_id = reader.rows("SELECT mlflow_run_id FROM runs", run)[0]["mlflow_run_id"]

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        """See pipelines.lake.lake.Listener."""
        run_id: str | None = self._run_id
        return run_id

    def stage_started(self, iteration: int, stage: str) -> None:
        """See pipelines.lake.lake.Listener."""

    def stage_sealed(
        self, seal: dict[str, Any], snapshot: TableSnapshot, *, repeated: bool
    ) -> None:
        """See pipelines.lake.lake.Listener."""
