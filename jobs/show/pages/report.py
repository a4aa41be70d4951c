"""Write a report on some runs as a folder of HTML pages that open from disk.

Each page is whole: its style, scripts and data are in it, and its policy (CSP) lets it run these
scripts, by their hashes, and load nothing. `index.html` holds the results, `samples-<run>.html` the
samples to browse.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.show.compare import cost_text
from jobs.show.console import cell, seconds, with_interval
from jobs.show.explain import NOT_KEPT
from jobs.show.pages.plots import plots
from jobs.show.status import describe_progress
from pipelines.config import RunConfig
from pipelines.errors import ConfigError, MachineError
from pipelines.lake.seal import Seal
from pipelines.lake.stored_run import stored_config
from pipelines.results.commands import lake_arguments, restem_command
from pipelines.results.compare import Comparison, compare
from pipelines.results.embedded import embedded
from pipelines.results.overview import RunOverview, overview
from pipelines.results.report import describe_gain
from pipelines.results.sample_pages import MAX_PER_PROMPT, SampleSelection, select_for_pages
from pipelines.runs.steps import timed_stages
from pipelines.runtime.version import code_version

if TYPE_CHECKING:
    from jinja2 import Environment

    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

INDEX = "index.html"
_GENERATOR = "restem report"
_PARTIAL = ".html-partial"
_HEAD = 2000
"""Number of characters among which a page names its generator."""
_TEMPLATES = Path(__file__).with_name("templates")
_SECTIONS = {
    "summary": "Summary",
    "comparison": "Comparison",
    "plots": "Plots",
    "stages": "Stages",
    "checks": "Data checks",
    "settings": "Settings",
    "more": "More",
}


@dataclass(frozen=True)
class _SamplePage:
    run: str
    file: str
    statement: str
    """Which of the run's samples it has."""


def write_report_pages(
    reader: LakeReader,
    runs: Sequence[str],
    folder: Path,
    num_samples: int = 2000,
    seed: int = 0,
) -> Path:
    """Write the pages; the path of the first.

    Args:
        reader: the lake.
        runs: names of runs; the first is the one that the others are compared with.
        folder: where to; a report that is there is replaced.
        num_samples: number of samples per run that can be browsed.
        seed: of their choice.

    Raises:
        LakeError: the lake has no such run, or one is named twice.
        ConfigError: another file of the folder has the name of a page.
    """
    pages = report_pages(reader, runs, num_samples, seed)
    _clear(folder, pages)
    for name, html in pages.items():
        _write(folder / name, html)
    return folder / INDEX


def report_pages(
    reader: LakeReader, runs: Sequence[str], num_samples: int, seed: int
) -> dict[str, str]:
    """The pages by file name, see `write_report_pages`."""
    comparison = compare(reader, list(runs)) if len(runs) > 1 else None
    configs = [stored_config(reader, run) for run in runs]
    found = [overview(reader, config, timed_stages(config)) for config in configs]
    chosen = [select_for_pages(reader, run, num_samples, seed) for run in runs]
    pages = [_SamplePage(one.run, f"samples-{one.run}.html", _statement(one)) for one in chosen]
    drawn = plots(found)
    sections = {
        name: text for name, text in _SECTIONS.items() if name != "comparison" or comparison
    }
    index = _render(
        INDEX,
        {"plots": [asdict(plot) for plot in drawn]},
        [_plotly(), _text("report.js")],
        title=f"Report on {', '.join(runs)}",
        sections=sections.items(),
        sample_pages=pages,
        runs=[_run(reader, one, config) for one, config in zip(found, configs, strict=True)],
        comparison=None if comparison is None else _comparison(comparison),
        plots=drawn,
        settings=_settings(found),
    )
    made = {
        page.file: _samples(reader, c, page, pages) for c, page in zip(chosen, pages, strict=True)
    }
    return {**made, INDEX: index}


def _clear(folder: Path, names: Collection[str]) -> None:
    """Make the folder, and remove an earlier report from it; other files are left alone.

    Raises:
        ConfigError: a file has one of the names, and is no page of a report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier = [path for path in folder.iterdir() if _is_page(path)]
    for name in names:
        if (folder / name).exists() and folder / name not in earlier:
            raise ConfigError(
                f"--output must be a folder for the report, got {str(folder)!r}, whose {name!r} is "
                "none of a report; name another"
            )
    for path in earlier:
        path.unlink()


def _is_page(path: Path) -> bool:
    """Whether a file was written by this module."""
    if not path.name.endswith((".html", _PARTIAL)) or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return f'name="generator" content="{_GENERATOR}"' in file.read(_HEAD)


def _samples(
    reader: LakeReader, chosen: SampleSelection, page: _SamplePage, pages: Sequence[_SamplePage]
) -> str:
    """The page on which a run's samples are browsed."""
    data = asdict(chosen) | {
        "reasons": NOT_KEPT,
        "explain": f"{restem_command()} explain",
        "explain_arguments": f" --run {chosen.run}{lake_arguments(reader.location)}",
    }
    return _render(
        "samples.html",
        data,
        [_text("samples.js")],
        title=f"Samples of {chosen.run}",
        statement=page.statement,
        commands=_commands_for_the_rest(reader, chosen),
        sample_pages=pages,
        run=chosen.run,
    )


def _statement(chosen: SampleSelection) -> str:
    if len(chosen.samples) == chosen.num_samples:
        return f"All {chosen.num_samples:,} samples of the run."
    return (
        f"{len(chosen.samples):,} of the run's {chosen.num_samples:,} samples: "
        f"{len({sample['problem_id'] for sample in chosen.samples}):,} of {chosen.num_problems:,} "
        f"problems, chosen by a hash with seed {chosen.seed}, taking the kinds of problems in turn, and "
        f"at most {MAX_PER_PROMPT} samples per problem, iteration and decoding."
    )


def _commands_for_the_rest(reader: LakeReader, chosen: SampleSelection) -> list[str]:
    run, restem, lake = chosen.run, restem_command(), lake_arguments(reader.location)
    query = (
        "SELECT sample_id, iteration, verdict, extracted, reference, solution FROM sample_verdicts "
        "WHERE purpose = 'train' AND verdict <> 'correct'"
    )
    return [
        f'{restem} sql "{query}" --run {run}{lake} --limit 20',
        f"{restem} explain SAMPLE_ID --run {run}{lake}",
        f"{restem} report {run}{lake} --samples {max(chosen.num_samples, 1)} --output all-samples",
        f"{restem} report {run}{lake} --seed {chosen.seed + 1} --output other-samples",
    ]


def _run(reader: LakeReader, found: RunOverview, config: RunConfig) -> Mapping[str, Any]:
    """What the page's template shows of a run."""
    gain = found.report.gain
    failed = [row for row in found.checks if not row["passed"]]
    passed = [row for row in found.checks if row["passed"]]
    created = f"{found.about['created_at']:%Y-%m-%d %H:%M} UTC"
    return {
        "name": found.name,
        "report": found.report,
        "gain": None if gain is None else describe_gain(gain),
        "state": f"{describe_progress(reader, found.name)}.",
        "origin": f"Method {config.method}; base model {config.model.base_model}; started {created} by "
        f"restem {found.about['code_version']}; seed {config.seed}.",
        "stages": [_stage(row) for row in found.stages],
        "num_passed": len(passed),
        "failed": [_failed_check(row) for row in failed],
        "passed": _passed_checks(passed),
    }


def _stage(row: Row) -> Row:
    return {
        "stage": row["stage"],
        "iteration": row["iteration"],
        "table": f"{row['table_name']} version {row['version']}",
        "read": ", ".join(f"{i['table']} {i['version']}" for i in Seal.from_row(row).inputs),
        "rows": f"{row['rows']:,}",
        "time": seconds(row["seconds"]),
        "attempt": row["attempt"],
        "sealed (UTC)": cell(row["committed_at"]),
    }


def _failed_check(row: Row) -> Row:
    return {
        "rule": row["rule"],
        "table": f"{row['table_name']}, iteration {row['iteration']}",
        "severity": row["severity"],
        "observed": row["observed"],
        "rows that break it": row["num_unexpected"],
        "examples": row["examples"],
    }


def _passed_checks(passed: Sequence[Row]) -> list[Row]:
    iterations: dict[tuple[str, str, str], list[int]] = {}
    for row in passed:
        key = (row["table_name"], row["rule"], row["severity"])
        iterations.setdefault(key, []).append(row["iteration"])
    return [
        {
            "rule": rule,
            "table": table,
            "severity": severity,
            "iterations": ", ".join(map(str, sorted(set(found)))),
        }
        for (table, rule, severity), found in sorted(iterations.items())
    ]


def _settings(found: Sequence[RunOverview]) -> list[Row]:
    names = sorted({name for one in found for name in one.settings})
    return [
        {"setting": name} | {one.name: one.settings.get(name) for one in found} for name in names
    ]


def _comparison(found: Comparison) -> Mapping[str, Any]:
    pairs = [(pair, pair.gain) for pair in found.differences]
    reach = max((abs(100 * end) for _, g in pairs for end in (g.low, g.high)), default=0) or 1

    def beside(name: str, values: Sequence[str]) -> Row:
        return {"": name} | dict(zip(found.runs, values, strict=True))

    return {
        "runs": found.runs,
        "differences": [
            {
                "run": pair.run,
                "points": f"{100 * gain.value:+.1f}",
                "95 % interval": f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}",
                "the interval": "includes 0" if gain.low <= 0 <= gain.high else "excludes 0",
                "problems": gain.n,
                "only this run solves": pair.wins,
                "only the baseline solves": pair.losses,
            }
            for pair, gain in pairs
        ],
        "pictures": [
            {
                "run": pair.run,
                **{end: 1e4 * getattr(gain, end) / reach for end in ("low", "value", "high")},
            }
            for pair, gain in pairs
        ],
        "reach": f"{reach:.1f}",
        "settings": [
            beside(name, [json.dumps(value, ensure_ascii=False) for value in values])
            for name, values in found.settings.items()
        ],
        "evaluations": [
            beside(f"{suite} {metric}, iteration {iteration}", [with_interval(r) for r in rows])
            for (suite, metric, iteration), rows in found.evaluations.items()
        ],
        "costs": [
            beside(name, [cost_text(name, value) for value in values])
            for name, values in found.costs.items()
        ],
    }


def _render(template: str, data: object, scripts: Sequence[str], **values: Any) -> str:
    """A page with its data and scripts."""
    from markupsafe import Markup

    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return str(
        _environment()
        .get_template(template)
        .render(
            policy=f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'",
            generator=_GENERATOR,
            # Of this package and of plotly, not of a run.
            style=Markup(_text("style.css")),
            scripts=[Markup(script) for script in scripts],
            data=Markup(embedded(data)),
            made=f"Made by restem {code_version()} at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            **values,
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _plotly() -> str:
    """plotly.js, which the package plotly brings; the package is not imported."""
    spec = importlib.util.find_spec("plotly")
    file = (
        None
        if spec is None or spec.origin is None
        else Path(spec.origin).parent / "package_data" / "plotly.min.js"
    )
    if file is None or not file.is_file():
        raise MachineError("the package plotly is not installed; run 'make setup'")
    return file.read_text(encoding="utf-8")


def _write(path: Path, html: str) -> Path:
    partial = path.with_suffix(_PARTIAL)
    partial.write_text(html, encoding="utf-8")
    partial.replace(path)
    return path
