from __future__ import annotations

import pytest

from pipelines.config import SourceConfig
from pipelines.datasets.locations import expanded
from pipelines.datasets.read import read
from pipelines.errors import InputError


def test_variables_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETS", "/sets")
    assert expanded("${SETS}/math/${SETS}", "x") == "/sets/math//sets"
    assert expanded("s3://bucket/$SETS", "x") == "s3://bucket/$SETS"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named_with_the_setting_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("NO_SETS", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_SETS", value)
    source = SourceConfig(kind="jsonl", location="${NO_SETS}/a.jsonl")
    with pytest.raises(InputError) as caught:
        list(read(source, 0))
    message = str(caught.value)
    assert message.startswith("problems.sources.location: '${NO_SETS}/a.jsonl'")
    assert "export NO_SETS=FOLDER" in message
