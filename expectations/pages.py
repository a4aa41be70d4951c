"""Data Docs made to be read anywhere.

Great Expectations' pages take their styles, icons and the table of the index from the web; without
a network the index is empty. Here they lose what they would fetch, get a short style of their own,
and an index that is plain HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

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


@dataclass(frozen=True)
class Entry:
    """One line of the index."""

    iteration: int
    table: str
    page: Path
    num_rules: int
    broken: Sequence[str]
    """Critical rules that do not hold."""
    warned: Sequence[str]
    """Rules that do not hold, and only warn."""


def make_readable(folder: Path) -> None:
    """Rewrite the pages in a folder so that they need nothing from the web."""
    for page in folder.rglob("*.html"):
        text = _FETCHED.sub("", page.read_text(encoding="utf-8"))
        text = text.replace("</head>", f"<style>{_STYLE}</style></head>", 1)
        page.write_text(text, encoding="utf-8")


def write_index(folder: Path, entries: Sequence[Entry]) -> Path:
    """Write the index of a run's checks."""
    rows = "\n".join(_row(folder, entry) for entry in entries)
    index = folder / "index.html"
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


def _row(folder: Path, entry: Entry) -> str:
    link = quote(str(entry.page.relative_to(folder)))
    lines = [f'<span class="broken">&#10007; {html.escape(text)}</span>' for text in entry.broken]
    lines += [f'<span class="warned">! {html.escape(text)}</span>' for text in entry.warned]
    return (
        f"<tr><td>{entry.iteration}</td><td><a href='{link}'>{html.escape(entry.table)}</a></td>"
        f"<td>{entry.num_rules}</td><td>{'<br>'.join(lines) or '&#10003; all hold'}</td></tr>"
    )
