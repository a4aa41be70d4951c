"""Data Docs: a run's checks as HTML pages, made by Great Expectations.

A validation is saved as a file when its table is checked, so that the pages can be made at the end of
a run, or of the start that finishes it, without evaluating anything again.

Great Expectations' pages take their styles, icons and the table of the index from the web; without a
network the index is empty. Here what they would fetch is removed, and they get a short style and an
index in plain HTML.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from expectations.check_result import CheckedTable, Validation
from expectations.gate import ephemeral_context, silence
from schemas.checks import CRITICAL

if TYPE_CHECKING:
    from great_expectations.data_context import EphemeralDataContext

_SAVED = "checks"
"""Folder of the saved validations, in the run's folder."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; }
table { border-collapse: collapse; margin: .3em 0 1.2em; }
th, td { border: 1px solid #ccc; padding: .25em .6em; text-align: left; vertical-align: top; }
h4, h5, .alert-secondary { font-size: 1.1em; font-weight: 600; margin: .8em 0 .3em; }
.fa-check-circle::before { content: "\\2713 holds"; color: #1a7f37; }
.fa-times::before { content: "\\2717 broken"; color: #c0232c; font-weight: 600; }
.fa-exclamation-triangle::before { content: "! not evaluated"; color: #c0232c; }
i { font-style: normal; white-space: nowrap; }
.broken { color: #c0232c; font-weight: 600; } .warned { color: #9a6700; font-weight: 600; }
footer, .collapse, a[data-toggle], .sticky, .lead, .navbar-brand { display: none; }
.ge-breadcrumbs, .breadcrumb { list-style: none; padding: 0; }
"""

_FETCHED = re.compile(
    r"<script\b.*?</script>|<style\b.*?</style>|<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>",
    re.DOTALL | re.IGNORECASE,
)


def save_validation(checked: CheckedTable, folder: Path) -> Path:
    """Save a table's validation for the Data Docs; a later check of the table replaces it.

    Args:
        checked: what the gate found.
        folder: the run's folder.
    """
    file = folder / _SAVED / f"{checked.iteration:04d}-{checked.table}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(checked.validation), encoding="utf-8")
    partial.replace(file)
    return file


def write_data_docs(folder: Path) -> Path | None:
    """Make the pages of all validations saved in a run's folder.

    Returns:
        The index page, `<folder>/data_docs/index.html`; None if nothing was saved.
    """
    saved = sorted((folder / _SAVED).glob("*.json"))
    if not saved:
        return None
    pages = folder.resolve() / "data_docs"
    shutil.rmtree(pages, ignore_errors=True)
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(pages),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    with silence():
        context = ephemeral_context()
        context.add_data_docs_site("checks", site)
        for file in saved:
            _add_validation(context, *_read(file))
        context.build_data_docs()
    for page in pages.rglob("*.html"):
        text = _FETCHED.sub("", page.read_text(encoding="utf-8"))
        text = text.replace("</head>", f"<style>{_STYLE}</style></head>", 1)
        page.write_text(text, encoding="utf-8")
    rows = "\n".join(_index_row(pages, *_read(file)) for file in saved)
    index = pages / "index.html"
    index.write_text(
        f"""<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Checks</title><style>{_STYLE}</style></head><body>
<h1>Checks</h1>
<table><tr><th>iteration</th><th>table</th><th>rules</th><th>result</th></tr>
{rows}
</table></body></html>
""",
        encoding="utf-8",
    )
    return index


def _read(file: Path) -> tuple[int, str, Validation]:
    iteration, _, table = file.stem.partition("-")
    return int(iteration), table, json.loads(file.read_text(encoding="utf-8"))


def _suite_name(iteration: int, table: str) -> str:
    return f"iteration {iteration}, {table}"


def _add_validation(
    context: EphemeralDataContext, iteration: int, table: str, validation: Validation
) -> None:
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


def _index_row(pages: Path, iteration: int, table: str, validation: Validation) -> str:
    page = next((pages / "validations" / _suite_name(iteration, table)).rglob("*.html"))
    failed = [r["expectation_config"] for r in validation["results"] if not r["success"]]
    # Critical ones first.
    lines = [
        f'<span class="broken">&#10007; {html.escape(rule["meta"]["rule"])}</span>'
        for rule in failed
        if rule["severity"] == CRITICAL
    ]
    lines += [
        f'<span class="warned">! {html.escape(rule["meta"]["rule"])}</span>'
        for rule in failed
        if rule["severity"] != CRITICAL
    ]
    return (
        f"<tr><td>{iteration}</td>"
        f"<td><a href='{quote(str(page.relative_to(pages)))}'>{html.escape(table)}</a></td>"
        f"<td>{len(validation['results'])}</td>"
        f"<td>{'<br>'.join(lines) or '&#10003; all hold'}</td></tr>"
    )
