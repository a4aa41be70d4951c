"""The report's pages: what they hold, and that no text in them is markup or script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jobs.cli import app
from tests.hostile import METRICS, SUITE, TEXTS, write_hostile_lake
from tests.lake_fixture import write_lake
from tests.seen_page import Seen

TEMPLATES = Path(__file__).parents[4] / "jobs" / "show" / "pages" / "templates"
OF_A_MODEL = re.compile(r"pwned|\u202e")


def report(lake: Path, folder: Path, *arguments: object) -> Result:
    words = ["report", *map(str, arguments), "--output", str(folder), "--lake", str(lake)]
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def pages(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages on both runs of the hostile lake, by file name."""
    folder = tmp_path_factory.mktemp("report") / "both"
    result = report(hostile, folder, "first", "second")
    assert result.exit_code == 0, result.output
    assert result.output == f"{folder / 'index.html'}\n"
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def seen(page: str) -> Seen:
    parser = Seen()
    parser.feed(page)
    return parser


def data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def rows(text: str) -> list[str]:
    """A page's text in lines without markup, blanks joined."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_folder_holds_a_page_of_results_and_one_of_samples_per_run(
    pages: dict[str, str],
) -> None:
    assert set(pages) == {"index.html", "samples-first.html", "samples-second.html"}
    assert all(len(page) < 500_000 for name, page in pages.items() if name != "index.html")


def test_the_results_are_there(pages: dict[str, str]) -> None:
    text = seen(pages["index.html"]).text
    for part in (
        "Greedy test accuracy, last policy minus base, paired over 4 problems",
        "test maj@64",
        "75.0 [65.0, 85.0]",  # greedy accuracy of the last policy
        "accepted share near the last iteration's",
        "0.62 after 0.31",
        "curate.cutoff",  # differs between the runs
        "includes 0",
        "sampling.num_samples_per_problem",
        "samples version 1",
        "All 60 samples of the run.",
    ):
        assert part in text, part


def test_the_comparison_has_the_paired_interval(pages: dict[str, str]) -> None:
    lines = rows(seen(pages["index.html"]).text)
    start = lines.index("Each run minus first")
    pair = " ".join(lines[start : start + 4])
    assert re.search(r"second\+25\.0\+0\.0 to \+75\.0includes 0410", pair)


def test_each_plot_has_series_with_intervals(pages: dict[str, str]) -> None:
    plots = {plot["id"]: plot for plot in data(pages["index.html"])["plots"]}
    assert set(plots) == {
        *("accuracy", "gap", "pass-at-k", "verdicts", "reasons"),
        *("difficulty", "m-step", "seconds"),
    }
    first = plots["accuracy"]["choices"][0]
    assert (first["label"], first["y"]) == ("test, greedy accuracy", "%")
    assert [series["name"] for series in first["series"]] == ["first", "second"]
    assert first["series"][0]["y"] == [25.0, 50.0, 75.0]
    assert first["series"][0]["high"] == pytest.approx([35, 60, 85])
    assert len(plots["accuracy"]["choices"]) == 2 * len(METRICS) + 1
    curve = plots["pass-at-k"]["choices"][0]["series"][0]
    assert (curve["name"], curve["x"]) == ("first, iteration 0", [1, 2, 4, 8, 16, 32, 64])
    shares = plots["verdicts"]["choices"][0]["series"]
    assert {one["name"]: one["y"] for one in shares} == {
        "correct": [25.0, 50.0, 75.0],
        "wrong": [75.0, 50.0, 25.0],
    }


def test_one_run_is_compared_with_nothing(tmp_path: Path) -> None:
    lake = write_lake(tmp_path / "lake")
    assert report(lake, tmp_path / "one", "first").exit_code == 0
    text = seen((tmp_path / "one" / "index.html").read_text(encoding="utf-8")).text
    assert "Comparison" not in text
    assert "Settings" in text


def test_texts_of_models_and_problems_are_data_and_nothing_else(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        parsed = seen(page)
        tags = {tag for tag, _ in parsed.tags}
        assert not tags & {"img", "b", "iframe", "object", "embed", "link", "form"} - {"form"}
        attributes = {attribute for _, found in parsed.tags for attribute in found}
        assert not [attribute for attribute in attributes if attribute.startswith("on")], name
        for _, found in parsed.tags:
            for attribute in ("href", "src", "action"):
                assert not OF_A_MODEL.search(found.get(attribute) or ""), name
    samples = data(pages["samples-first.html"])
    solutions = {sample["solution"] for sample in samples["samples"]}
    assert all(any(text in solution for solution in solutions) for text in TEXTS)
    assert {problem["reference"] for problem in samples["problems"].values()} == set(TEXTS)


def test_a_name_that_is_markup_is_text_in_the_results(pages: dict[str, str]) -> None:
    assert SUITE in seen(pages["index.html"]).text
    assert TEXTS[0] in seen(pages["index.html"]).text  # the examples of a check that failed


def test_only_the_reports_own_scripts_may_run_and_nothing_is_loaded(pages: dict[str, str]) -> None:
    for page in pages.values():
        (policy,) = [
            found["content"] or ""
            for tag, found in seen(page).tags
            if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe-inline" not in policy.split("style-src")[0]
        scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
        for script in scripts:
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        sources = [found for tag, found in seen(page).tags if tag in ("script", "img", "link")]
        assert not [found for found in sources if "src" in found or "href" in found]
        links = [found["href"] or "" for tag, found in seen(page).tags if tag == "a"]
        assert all(link.startswith(("#", "index.html", "samples-")) for link in links)


def test_the_scripts_make_text_and_no_markup() -> None:
    sinks = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(")
    for script in TEMPLATES.glob("*.js"):
        assert not sinks.search(script.read_text(encoding="utf-8")), script.name
    for template in TEMPLATES.glob("*.html"):
        assert "safe" not in re.findall(r"\|\s*(\w+)", template.read_text(encoding="utf-8"))


def test_numbers_that_scripts_cannot_hold_are_text_or_null(pages: dict[str, str]) -> None:
    samples = data(pages["samples-first.html"])["samples"]
    assert all(int(sample["seed"]) >= 2**62 for sample in samples)
    rewards = {verdict["reward"] for sample in samples for verdict in sample["verdicts"]}
    assert rewards == {None, 1.0}


def test_a_selection_is_stated_with_the_ways_to_see_the_rest(hostile: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    assert report(hostile, folder, "first", "--samples", 20, "--seed", 3).exit_code == 0
    page = (folder / "samples-first.html").read_text(encoding="utf-8")
    text = " ".join(seen(page).text.split())
    shown = len(data(page)["samples"])
    assert 20 <= shown < 60
    assert f"{shown} of the run's 60 samples: " in text
    assert "of 8 problems, chosen by a hash with seed 3" in text
    for command in ("sql", "explain SAMPLE_ID", "--samples 60", "--seed 4"):
        assert command in text


def test_a_report_is_written_anew_and_other_files_are_left_alone(
    hostile: Path, tmp_path: Path
) -> None:
    pages = tmp_path / "pages"
    assert report(hostile, pages, "first", "second").exit_code == 0
    (pages / "mine.html").write_text("mine", encoding="utf-8")
    (pages / "samples-first.html").rename(pages / "samples-first.html-partial")  # by a kill
    assert report(hostile, pages, "second").exit_code == 0
    assert {path.name for path in pages.iterdir()} == {
        "index.html",
        "samples-second.html",
        "mine.html",
    }
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine", encoding="utf-8")
    refused = report(hostile, tmp_path / "site", "first")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("restem: --output must be a folder for the report")
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "site").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("runs", "said"),
    [(["third"], "no run 'third'"), (["first", "first"], "two or more different runs")],
)
def test_a_wrong_run_is_one_line_and_nothing_is_written(
    hostile: Path, tmp_path: Path, runs: list[str], said: str
) -> None:
    result = report(hostile, tmp_path / "none", *runs)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not (tmp_path / "none").exists()


def luminance(color: str) -> float:
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(scheme: int) -> None:
    """WCAG 2.2's 4.5 : 1 for text, 3 : 1 for lines and marks of plots."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.S)[scheme]
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for ground in ("page", "tint"):
        for ink, least in [(name, 4.5) for name in ("ink", "soft", "accent", "good", "bad")] + [
            (f"s{n}", 3.0) for n in range(8)
        ]:
            light, dim = sorted((luminance(colors[ink]), luminance(colors[ground])), reverse=True)
            assert (light + 0.05) / (dim + 0.05) >= least, (ink, ground)
