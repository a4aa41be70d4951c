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
        ("e.yaml", b"- {question: 1 + 1}", "exemplar 1 has no field 'solution'"),
        (
            "e.yaml",
            b"- {question: 1, solution: '1'}",
            "exemplar 1: question must be text, got 1; put it in quotes",
        ),
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


SOURCES = "problems: {sources: [{kind: jsonl, location: p.jsonl}]}\n"


def refusal(path: Path, text: str, *overrides: str) -> str:
    path.write_text(SOURCES + text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides=overrides)
    return str(raised.value)


def test_a_section_that_is_written_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    said = refusal(tmp_path / "a.yaml", "sampling: {max_tokens: 8}\ncurate: {}\nsampling: {}\n")
    assert "a.yaml: line 4: 'sampling' is there twice, first in line 2; keep one" in said
    nested = refusal(tmp_path / "a.yaml", "sampling:\n  top_k: 1\n  top_k: 2\n")
    assert "line 4: 'top_k' is there twice, first in line 3" in nested


def test_exemplars_in_two_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("- {question: 1 + 1, solution: '2'}")
    both = "prompt: {exemplars_file: e.yaml, exemplars: [{question: a, solution: b}]}"
    said = refusal(tmp_path / "a.yaml", both)
    assert "prompt: exemplars and exemplars_file must not both be set" in said


def test_exemplars_of_the_run_replace_those_of_the_prompts_file(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "e.yaml").write_text("- {question: 1 + 1, solution: '2'}")
    (tmp_path / "prompts" / "p.yaml").write_text("exemplars_file: e.yaml\nsolution_prefix: '-'")
    path = tmp_path / "a.yaml"
    path.write_text(SOURCES + "prompt: {file: prompts/p.yaml}")
    assert load_config(path).prompt.exemplars == ({"question": "1 + 1", "solution": "2"},)
    path.write_text(
        SOURCES + "prompt: {file: prompts/p.yaml, exemplars: [{question: a, solution: b}]}"
    )
    prompt = load_config(path).prompt
    assert prompt.exemplars == ({"question": "a", "solution": "b"},)
    assert prompt.solution_prefix == "-"


@pytest.mark.parametrize(
    ("exemplar", "said"),
    [
        ("{question: 1 + 1, solution: 7}", "solution must be text, got 7; put it in quotes"),
        ("{question: 1 + 1, solution: yes}", "solution must be text, got True; put it in quotes"),
        ("{question: 1 + 1}", "has no field 'solution'; add it"),
        ("{question: 1 + 1, answer: '2'}", "has no field 'solution'; add it"),
    ],
)
@pytest.mark.parametrize("inline", [True, False])
def test_an_exemplar_that_is_no_text_is_named(
    tmp_path: Path, exemplar: str, said: str, inline: bool
) -> None:
    (tmp_path / "e.yaml").write_text(f"- {exemplar}")
    setting = f"exemplars: [{exemplar}]" if inline else "exemplars_file: e.yaml"
    message = refusal(tmp_path / "a.yaml", f"prompt: {{{setting}}}")
    assert "exemplar" in message
    assert said in message


def test_an_unknown_field_names_the_one_that_was_probably_meant(tmp_path: Path) -> None:
    said = refusal(tmp_path / "a.yaml", "sampling: {temprature: 1}\n")
    assert "sampling.temprature is not a known field; did you mean 'temperature'?" in said
    said = refusal(tmp_path / "a.yaml", "sampling: {nonsense_here: 1}\n")
    assert "not a known field; sampling has num_samples_per_problem, temperature" in said
    said = refusal(tmp_path / "a.yaml", "evaluation: {suites: [{name: a, greddy: true}]}\n")
    assert "did you mean 'greedy'?" in said


def test_an_error_in_an_override_blames_the_override(tmp_path: Path) -> None:
    said = refusal(tmp_path / "a.yaml", "", "sampling.top_k=many", "curate.cutof=1")
    assert "--set sampling.top_k must be a valid integer" in said
    assert "--set curate.cutof is not a known field; did you mean 'cutoff'?" in said
    assert "a.yaml" not in said
    whole = refusal(tmp_path / "a.yaml", "", "problems.sources=[{kind: jsonl}]")
    assert "--set problems.sources.0.location is required" in whole


def test_files_are_looked_for_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "project" / "a.yaml"
    path.write_text(
        "problems:\n  sources:\n"
        "    - {kind: jsonl, location: p.jsonl}\n"
        "    - {kind: csv, location: ../more/p.csv}\n"
        "    - {kind: gsm8k, location: gsm8k/test.jsonl}\n"
        "    - {kind: gsm8k}\n"
        "    - {kind: hub, location: owner/name}\n"
        "    - {kind: delta, location: 's3://bucket/table'}\n"
        "    - {kind: jsonl, location: '${DATA}/p.jsonl'}\n"
        "    - {kind: jsonl, location: ~/p.jsonl}\n"
        "    - {kind: generator, location: 'module:function'}\n"
        "evaluation: {suites: [{name: s, source: {kind: parquet, location: s.parquet}}]}\n"
    )
    config = load_config(Path("project/a.yaml"))
    assert [source.location for source in config.problems.sources] == [
        str(tmp_path / "project" / "p.jsonl"),
        str(tmp_path / "more" / "p.csv"),
        str(tmp_path / "project" / "gsm8k" / "test.jsonl"),
        "openai/gsm8k",
        "owner/name",
        "s3://bucket/table",
        "${DATA}/p.jsonl",
        "~/p.jsonl",
        "module:function",
    ]
    (suite,) = config.evaluation.suites
    assert suite.source is not None
    assert suite.source.location == str(tmp_path / "project" / "s.parquet")


def test_a_home_folder_is_written_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "a.yaml"
    path.write_text(SOURCES + "output: ~/results\n")
    assert load_config(path).folder == tmp_path / "results" / "runs" / "a"
