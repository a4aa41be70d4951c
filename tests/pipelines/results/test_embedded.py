"""Data in a page's script: nothing in it ends the script, and a script reads what was put in."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pipelines.results.embedded import embedded
from tests.hostile import TEXTS


def test_no_text_ends_the_script_and_all_is_read_back() -> None:
    made = embedded({"texts": TEXTS, "<key>": [1, None, True]})
    assert not set(made) & {"<", ">", "&", "\u2028", "\u2029", "\x07", "\n"}
    assert json.loads(made) == {"texts": list(TEXTS), "<key>": [1, None, True]}


def test_numbers_that_json_lacks_are_null_and_times_are_text() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert json.loads(embedded([float("nan"), float("inf"), 0.5, noon])) == [
        None,
        None,
        0.5,
        "2026-01-01T12:00:00+00:00",
    ]
