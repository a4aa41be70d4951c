from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from expectations import data_docs, gate
from expectations.context import Context
from schemas import REWARDS, SAMPLES, TRAINING_SET
from tests import factories


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        if tag in {"script", "link", "img", "iframe"}:
            self.fetched.append(str(values.get("src") or values.get("href")))


def read(page: Path) -> _Links:
    parser = _Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_pages_name_tables_and_rules_and_need_no_network(tmp_path: Path) -> None:
    bad = factories.arrow(TRAINING_SET, {}, {"weight": -1.0})
    warned = factories.arrow(SAMPLES, {"finish_reason": "length"})
    data_docs.save_validation(gate.check(TRAINING_SET, bad, iteration=1), tmp_path)
    data_docs.save_validation(gate.check(SAMPLES, warned, Context(expected_rows=1)), tmp_path)
    data_docs.save_validation(gate.check(REWARDS, factories.arrow(REWARDS, {})), tmp_path)

    index = data_docs.write_data_docs(tmp_path)
    assert index is not None
    text = index.read_text(encoding="utf-8")
    assert "weight &gt;= 0" in text
    assert "finish_reason is length in at most 20.0% of rows" in text
    assert "all hold" in text
    pages = [index.parent / unquote(link) for link in read(index).links]
    assert len(pages) == 3
    for page in pages:
        assert read(page).fetched == []
    training = next(page for page in pages if page.stem == "training_set")
    assert "num_tokens >= 1" in training.read_text(encoding="utf-8")
    assert "1 unexpected values found" in training.read_text(encoding="utf-8")


def test_a_later_check_of_a_table_replaces_the_earlier_one(tmp_path: Path) -> None:
    bad = factories.arrow(TRAINING_SET, {"weight": -1.0})
    data_docs.save_validation(gate.check(TRAINING_SET, bad, iteration=1), tmp_path)
    data_docs.write_data_docs(tmp_path)
    good = factories.arrow(TRAINING_SET, {})
    data_docs.save_validation(gate.check(TRAINING_SET, good, iteration=1), tmp_path)
    index = data_docs.write_data_docs(tmp_path)
    assert index is not None
    assert "weight &gt;=" not in index.read_text(encoding="utf-8")
    assert len(read(index).links) == 1


def test_nothing_kept_makes_no_pages(tmp_path: Path) -> None:
    assert data_docs.write_data_docs(tmp_path) is None
