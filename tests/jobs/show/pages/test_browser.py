"""The report's pages in a real browser: they open, their filters work, and nothing in them runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.show.pages.report import write_report_pages
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.browser import Browser, browser, missing
from tests.hostile import write_hostile_lake

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]
TAB, ENTER, SPACE = "\ue004", "\ue007", " "


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    lake = LakeReader(Location(str(write_hostile_lake(folder / "lake"))))
    return write_report_pages(lake, ["first", "second"], folder / "report").parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """The browser; what a test opened in it must have run no foreign script and made no error."""
    chromium.window(1280)
    yield chromium
    assert chromium.run("return window.pwned ?? null") is None
    assert chromium.errors() == []


def found(page: Browser) -> str:
    # A filter waits a moment for further keys.
    script = "return new Promise(r => setTimeout(() => r(found.textContent), 250))"
    return str(page.run(f"const found = document.getElementById('found'); {script}"))


def num_rows(page: Browser) -> int:
    return int(page.run("return document.querySelectorAll('#results > *').length"))


def test_every_plot_is_drawn_and_can_show_another_choice(page: Browser, report: Path) -> None:
    page.open((report / "index.html").as_uri())
    drawn = "figure => figure.querySelectorAll('.trace path, .trace .point').length"
    marks = page.run(f"return [...document.querySelectorAll('figure')].map({drawn})")
    assert len(marks) == 8
    assert min(marks) > 0
    label = "return document.querySelector('#plot-accuracy caption').textContent"
    assert page.run(label) == "test, greedy accuracy"
    page.run("document.querySelector('#plot-accuracy select').focus()")
    page.press("\ue015")  # arrow down
    assert page.run(label) != "test, greedy accuracy"


def test_names_that_are_markup_are_text_in_plots(page: Browser, report: Path) -> None:
    page.open((report / "index.html").as_uri())
    page.run(
        """
        const select = document.querySelector('#plot-accuracy select');
        select.value = [...select.options].find((option) => option.text.includes('<img')).value;
        select.dispatchEvent(new Event('change'));
        """
    )
    assert page.run("return document.querySelectorAll('img, b').length") == 0
    caption = page.run("return document.querySelector('#plot-accuracy caption').textContent")
    assert "<img src=x onerror='window.pwned=6'><b>bold</b>" in caption


def test_a_setting_is_found(page: Browser, report: Path) -> None:
    page.open((report / "index.html").as_uri())
    page.type("#find-setting", "curate.cut")
    visible = "return [...document.querySelectorAll('#settings tbody tr')].filter(r => !r.hidden)"
    assert page.run(f"{visible}.map(r => r.cells[0].textContent)") == ["curate.cutoff"]


def test_samples_are_filtered_searched_and_paged(page: Browser, report: Path) -> None:
    page.open((report / "samples-first.html").as_uri())
    assert found(page) == "60 of 60 samples on this page match."
    assert num_rows(page) == 50
    page.click("#next")
    assert num_rows(page) == 10
    page.run("document.querySelector('[name=verdict]').value = 'wrong'")
    page.run("document.querySelector('form').dispatchEvent(new Event('input', {bubbles: true}))")
    assert found(page) == "30 of 60 samples on this page match."
    page.type("[name=q]", "first-1-sample")
    assert found(page) == "10 of 60 samples on this page match."
    page.click("#clear")
    assert found(page) == "60 of 60 samples on this page match."


def test_what_is_chosen_is_in_the_address(page: Browser, report: Path) -> None:
    page.open(f"{(report / 'samples-first.html').as_uri()}#kept=duplicate_solution")
    assert found(page) == "4 of 60 samples on this page match."
    page.type("[name=problem]", "problem-2")
    assert found(page) == "1 of 60 samples on this page match."
    assert page.run("return location.hash") == "#problem=problem-2&kept=duplicate_solution"


def test_a_sample_is_opened_with_the_keyboard_and_shows_its_lineage(
    page: Browser, report: Path
) -> None:
    page.open(f"{(report / 'samples-first.html').as_uri()}#q=first-1-sample-1-0")
    page.run("document.getElementById('clear').focus()")
    page.press(TAB, ENTER)
    opened = "document.querySelector('#results details').innerText"
    text = page.run(f"return new Promise(r => setTimeout(() => r({opened}), 100))")
    for part in (
        "window.pwned",
        "kept\nyes, for iteration 2",
        "Trained on it: policy 2, first-policy-2.",
        "fine-tuned from base on training_set version 0",
        "the base model",
        "temperature 0.7",
        str(2**62)[:12],
        "restem explain first-1-sample-1-0",
    ):
        assert part in text, part


def test_base_and_final_are_side_by_side(page: Browser, report: Path) -> None:
    page.open((report / "samples-first.html").as_uri())
    page.click("[value=pairs]")
    assert found(page) == "8 of 8 problems on this page match."
    sides = "return [...document.querySelectorAll('.sides h4')].slice(0, 2).map(h => h.textContent)"
    assert [side.split(":")[0] for side in page.run(sides)] == ["Iteration 0", "Iteration 2"]
    page.open(f"{(report / 'samples-first.html').as_uri()}#view=pairs&purpose=test&solved=right")
    assert found(page) == "2 of 8 problems on this page match."  # solved by the last policy only


def test_characters_that_are_invisible_or_turn_text_are_shown(page: Browser, report: Path) -> None:
    page.open(f"{(report / 'samples-first.html').as_uri()}#view=pairs")
    codes = page.run("return [...document.querySelectorAll('.odd')].map(span => span.textContent)")
    assert {"U+202E", "U+0007", "U+FEFF"} <= set(codes)
    text = page.run("return document.getElementById('results').textContent")
    assert not set(text) & {"\u202e", "\x07", "\ufeff"}


@pytest.mark.parametrize(
    "name", ["index.html", "samples-first.html", "samples-first.html#view=pairs"]
)
def test_a_page_can_be_read_at_400_pixels_and_in_the_dark(
    page: Browser, report: Path, name: str
) -> None:
    page.window(400, dark=True)
    page.open(f"{report.as_uri()}/{name}")
    page.run("for (const each of document.querySelectorAll('details')) each.open = true;")
    widths = page.run("const d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert widths[0] <= widths[1]
    assert page.run("return getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(21, 25, 29)"
    )
    plots = page.run(
        "return [...document.querySelectorAll('.main-svg')].map(s => s.style.background)"
    )
    assert {color for color in plots if color} <= {"rgb(21, 25, 29)"}


@pytest.mark.parametrize(
    "name", ["index.html", "samples-first.html", "samples-first.html#view=pairs"]
)
def test_fields_have_labels_and_headings_leave_out_no_level(
    page: Browser, report: Path, name: str
) -> None:
    page.open(f"{report.as_uri()}/{name}")
    page.run("for (const each of document.querySelectorAll('details')) each.open = true;")
    unnamed = page.run(
        "return [...document.querySelectorAll('main input, main select')]"
        ".filter(field => !field.labels.length).map(field => field.outerHTML)"
    )
    assert unnamed == []
    levels = page.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.run("return document.documentElement.lang") == "en"
