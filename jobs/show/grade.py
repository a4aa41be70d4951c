"""Export a suite to be graded by hand, and import the marks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from jobs.machine.sessions import Sessions
from jobs.show.console import console
from pipelines.errors import ConfigError
from pipelines.lake.lake import open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.sql_text import sql_list
from pipelines.lake.stored_run import stored_config
from pipelines.metrics.bootstrap import Estimate
from pipelines.results.commands import lake_arguments, restem_command
from pipelines.results.grading.exam import Exam, read_exam
from pipelines.results.grading.marks import check_marks, row_key
from pipelines.results.grading.page import write_page
from pipelines.results.grading.record import Recorded, record
from pipelines.results.grading.sheet import SheetRow, read_sheet, write_sheet
from pipelines.results.grading.totals import DISAGREEMENT, POINTS, SHARE
from pipelines.runs.check_context import ExpectationGate
from pipelines.runs.silent_listener import SilentListener
from pipelines.runtime.progress import SilentProgress

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
    """Write a suite's page and sheet into a folder, and print what to do with them.

    Raises:
        ConfigError: the run has no such samples, the folder cannot be written, or it holds a sheet
            of them already.
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
        if sheet.exists():
            raise ConfigError(
                f"--output: {sheet} is there, and may hold marks; choose another folder"
            )
        write_sheet(exam, sheet)
    except OSError as error:
        raise ConfigError(f"--output: cannot write {error.filename}: {error.strerror}") from None
    out = console()
    out.print(
        f"{len(exam.questions)} problems, {exam.num_solutions} solutions of iteration "
        f"{exam.iteration} ({exam.decoding}), {exam.max_points:g} points"
    )
    out.print(f"  to read, print, or mark in a browser: {page}")
    out.print(f"  to mark in a spreadsheet: {sheet}")
    words = shlex.join(["grade", "import", run, str(sheet)])
    command = f'{restem_command()} {words} --grader "$USER"{lake_arguments(location)}'
    # Soft wrap: a command that is cut by the terminal's width cannot be copied.
    out.print(f"then: {command}", soft_wrap=True)


def import_marks(
    location: Location, run: str, files: Sequence[Path], grader: str, *, replace: bool
) -> None:
    """Read the marks of one grader, commit them and their totals, and print those.

    Raises:
        RestEMError: a row has a fault, or earlier marks by the grader differ. Nothing is written
            then.
    """
    if not _GRADER.fullmatch(grader):
        raise ConfigError(
            f"--grader must be a name of letters, digits, spaces, '.', '_' and '-', got {grader!r}"
        )
    reader = LakeReader(location)
    config = stored_config(reader, run)
    rows = [row for path in files for row in read_sheet(path)]
    marks = check_marks(rows, _exams(reader, run, rows))
    progress, gate = SilentProgress(), ExpectationGate(config)
    sessions, listener = Sessions(config), SilentListener(reader, run)
    with sessions, open_lake(config, sessions, gate, listener, progress) as lake:
        recorded = record(lake, marks, grader, replace=replace)
    for each in recorded:
        _show_totals(each, grader)


def _exams(reader: LakeReader, run: str, rows: Sequence[SheetRow]) -> list[Exam]:
    """The exams that the rows were exported from, as the lake has them."""
    keys = {key for row in rows if (key := row_key(row)) is not None}
    if not keys:
        return []
    ids = sql_list(sample_id for _, sample_id in sorted(keys))
    found = reader.rows(
        f"SELECT sample_id, purpose, iteration, decoding FROM samples WHERE sample_id IN {ids}",
        run,
    )
    parts = {
        (row["purpose"], row["iteration"], row["decoding"])
        for row in found
        if (row["iteration"], row["sample_id"]) in keys
    }
    return [read_exam(reader, run, *part) for part in sorted(parts)]


def _show_totals(recorded: Recorded, grader: str) -> None:
    out = console()
    what = "were there already" if recorded.is_repeat else "are recorded"
    out.print(f"suite {recorded.suite}, iteration {recorded.iteration}: marks by {grader} {what}")
    points, share = recorded.totals[POINTS], recorded.totals[SHARE]
    out.print(f"  points  {_interval(points)} over {points.n} problems")
    out.print(f"  share   {_interval(share)}")
    out.print(f"  graders {', '.join(recorded.graders)}")
    disagreement = recorded.totals.get(DISAGREEMENT)
    if disagreement is not None:
        out.print(
            f"  graders differ by {_interval(disagreement)} of a problem's points, on average"
        )


def _interval(found: Estimate) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"
