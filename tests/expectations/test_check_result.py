from __future__ import annotations

import pytest

from expectations import gate
from expectations.check_result import describe, percent
from schemas import SAMPLES
from tests import factories


def test_a_broken_share_is_described_by_its_rows_and_its_limit() -> None:
    rows = factories.arrow(SAMPLES, *[{"finish_reason": "length"}] * 575, *[{}] * 287)
    (warning,) = gate.check(SAMPLES, rows).warnings
    assert describe(warning.rule, warning.observed) == (
        "575 of 862 rows (66.7 %) have finish_reason = length; limit 20 %"
    )


@pytest.mark.parametrize(
    ("rule", "observed", "described"),
    [
        ("weight >= 0", "1 of 2 rows (50 %) have weight < 0", "1 of 2 rows (50 %) have weight < 0"),
        ("3 rows", "1 row; expected 3 rows", "1 row; expected 3 rows"),
        (
            "at least one mark",
            "0 rows; expected at least 1 row",
            "'at least one mark' does not hold: 0 rows; expected at least 1 row",
        ),
        ("no x in training", "1,234 found", "'no x in training' does not hold: 1,234 found"),
        ("weight >= 0", None, "'weight >= 0' does not hold"),
    ],
)
def test_a_finding_names_its_rule_where_it_does_not_say_what_is_wrong(
    rule: str, observed: str | None, described: str
) -> None:
    assert describe(rule, observed) == described


def test_a_small_share_is_not_shown_as_none() -> None:
    shares = (0, 1e-9, 0.001, 0.2, 575 / 862, 1)
    assert [percent(share) for share in shares] == [
        "0 %",
        "less than 0.1 %",
        "0.1 %",
        "20 %",
        "66.7 %",
        "100 %",
    ]
