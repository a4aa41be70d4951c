from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.load import load_config, read_exemplars
from pipelines.errors import ConfigError

GOOD = [{"question": "1 + 1", "solution": "2"}, {"question": "2 + 2", "solution": "4"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "e.yaml",
            "- {question: 1 + 1, solution: '2'}\n- {question: 2 + 2, solution: '4', by: me}",
        ),
        (
            "e.jsonl",
            '{"question": "1 + 1", "solution": "2"}\n\n{"question": "2 + 2", "solution": "4"}\n',
        ),
    ],
)
def test_exemplars_are_read_from_yaml_and_json_lines(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_exemplars(path) == GOOD


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.yaml", b"", "must be a list of exemplars, got NoneType"),
        ("e.yaml", b"question: 1 + 1", "must be a list of exemplars, got dict"),
        ("e.yaml", b"- [", "is not YAML"),
        ("e.yaml", b"- {question: 1 + 1}", "exemplar 1 has no text field 'solution'"),
        ("e.yaml", b"- {question: 1, solution: '1'}", "exemplar 1 has no text field 'question'"),
        ("e.yaml", b"- \xff", "is not UTF-8 text"),
        ("e.jsonl", b'{"question": "a", "solution": "b"}\n{"question"', "line 2 is not JSON"),
    ],
)
def test_a_bad_exemplars_file_is_named_with_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_exemplars(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_an_override_reaches_a_nested_field_and_its_value_is_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("problems: {sources: [{kind: jsonl, location: p.jsonl}]}", encoding="utf-8")
    config = load_config(path, overrides=('sampling.stop=["\\n", "##"]', "curate.cutoff=3"))
    assert config.name == "mine"
    assert config.sampling.stop == ("\n", "##")
    assert config.curate.cutoff == 3
