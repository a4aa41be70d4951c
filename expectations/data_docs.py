"""Data Docs: a run's checks as pages for people, made by Great Expectations.

A report's own result is kept as a file when its table was checked, so that the pages can be made at
the end of a run, or of the start that finishes it, without evaluating anything again.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from expectations.gate import ephemeral_context, silence
from expectations.pages import Entry, make_readable, write_index
from expectations.report import Report
from schemas.checks import CRITICAL

_KEPT = "checks"


def keep(report: Report, folder: Path) -> Path:
    """Keep what Great Expectations said of a table; a later check of the table replaces it.

    Args:
        report: what the gate found.
        folder: the run's folder.
    """
    file = folder / _KEPT / f"{report.iteration:04d}-{report.table}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(report.validation), encoding="utf-8")
    partial.replace(file)
    return file


def write_data_docs(folder: Path) -> Path | None:
    """Make the pages of all that was kept in a run's folder.

    Returns:
        The index page, `<folder>/data_docs/index.html`; None if nothing was kept.
    """
    kept = sorted((folder / _KEPT).glob("*.json"))
    if not kept:
        return None
    pages = folder.resolve() / "data_docs"
    shutil.rmtree(pages, ignore_errors=True)
    with silence():
        context = _context(pages)
        for file in kept:
            _add(context, *_read(file))
        context.build_data_docs()
    make_readable(pages)
    return write_index(pages, [_entry(pages, *_read(file)) for file in kept])


def _read(file: Path) -> tuple[int, str, dict[str, Any]]:
    iteration, _, table = file.stem.partition("-")
    return int(iteration), table, json.loads(file.read_text(encoding="utf-8"))


def _entry(pages: Path, iteration: int, table: str, validation: dict[str, Any]) -> Entry:
    failures = [r["expectation_config"] for r in validation["results"] if not r["success"]]
    page = next((pages / "validations" / _suite_name(iteration, table)).rglob("*.html"))
    return Entry(
        iteration,
        table,
        page,
        len(validation["results"]),
        [f["meta"]["rule"] for f in failures if f["severity"] == CRITICAL],
        [f["meta"]["rule"] for f in failures if f["severity"] != CRITICAL],
    )


def _suite_name(iteration: int, table: str) -> str:
    return f"iteration {iteration}, {table}"


def _context(pages: Path) -> Any:
    context = ephemeral_context()
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(pages),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    context.add_data_docs_site("checks", site)
    return context


def _add(context: Any, iteration: int, table: str, validation: dict[str, Any]) -> None:
    from great_expectations.core import ExpectationSuite
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResultSchema,
    )
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    result = ExpectationSuiteValidationResultSchema().load(validation)
    name = _suite_name(iteration, table)
    result.suite_name = name
    checked_at = datetime.fromisoformat(validation["meta"]["validation_time"])
    run = RunIdentifier(run_name=f"iteration {iteration}", run_time=checked_at)
    result.meta["run_id"] = run
    suite = ExpectationSuite(name, expectations=[r.expectation_config for r in result.results])
    context.suites.add(suite)
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(name), run, table)
    context.validation_results_store.add(key, result)
