from __future__ import annotations

from pipelines.config.flatten import changed_settings, flat_texts, flatten

TREE = {"a": {"b": 1, "c": {"d": None}}, "list": [{"x": 1}], "text": "word", "empty": {}}


def test_sections_are_flattened_and_lists_are_values() -> None:
    assert flatten(TREE) == {
        "a.b": 1,
        "a.c.d": None,
        "list": [{"x": 1}],
        "text": "word",
        "empty": {},
    }


def test_settings_become_flat_texts() -> None:
    assert flat_texts(TREE) == {
        "a.b": "1",
        "a.c.d": "null",
        "list": '[{"x": 1}]',
        "text": "word",
        "empty": "{}",
    }


def test_changed_settings_are_listed_by_dotted_name_with_both_values() -> None:
    old = {"seed": 0, "curate": {"cutoff": 10, "beta": 1.0}, "options": {}}
    new = {"seed": 1, "curate": {"cutoff": 5, "beta": 1.0}, "options": {"size": 4}}
    assert changed_settings(old, new) == [
        "curate.cutoff: 10 -> 5",
        "options.size: null -> 4",
        "seed: 0 -> 1",
    ]


def test_a_section_that_only_one_side_has_is_shown_whole() -> None:
    old = {"problems": {"contamination": None}}
    new = {"problems": {"contamination": {"words": 13, "exact": "critical"}}}
    assert changed_settings(old, new) == [
        'problems.contamination: null -> {"words": 13, "exact": "critical"}'
    ]
    assert changed_settings(new, new) == []
