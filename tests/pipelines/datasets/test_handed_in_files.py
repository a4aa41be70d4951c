"""Whatever a user hands in is read right, or refused with a message: never a traceback."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import SourceConfig
from pipelines.config.load import load_config, read_exemplars, yaml_value
from pipelines.datasets.problem import RawProblem
from pipelines.datasets.read import read
from pipelines.errors import ConfigError, InputError

PUBLISHED = ("apps", "bbh", "codecontests", "gsm8k", "humaneval", "math", "mbpp")
TRIES = settings(max_examples=60, deadline=None)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ANY_TEXT = st.text(max_size=20) | st.sampled_from(["\ud800", "\0", "\u2028", "\ufeff", "a\r\nb"])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3)
)
FIELD = st.sampled_from(
    ("question", "answer", "input_output", "solutions", "input", "target", "prompt", "test", "text",
     "test_list", "entry_point", "problem", "solution", "level", "description", "public_tests", "code")
)  # fmt: skip
ROW = st.dictionaries(FIELD, VALUE, max_size=6)
BYTES = st.binary(max_size=200) | st.sampled_from(
    [
        b"[" * 100_000,
        b'{"question":' * 20_000,
        b"9" * 5000,
        b"\xff\xfe{\0}\0",
        b"\0",
        b"\xef\xbb\xbf",
    ]
)
ENDINGS = st.sampled_from(["\n", "\r\n"])


@contextmanager
def written(name: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        yield path


def outcome(kind: Any, path: Path, **settings: Any) -> list[RawProblem] | str:
    """The rows, all of which can be stored; or the message that refuses them."""
    try:
        rows = list(read(SourceConfig(kind=kind, location=str(path), **settings), 0))
    except InputError as error:
        return str(error)
    for row in rows:
        assert row.question.strip()
        pa.array([row.question, row.reference, row.solution or ""], pa.string())
        json.dumps(row.metadata, ensure_ascii=False, default=str).encode()
    return rows


@TRIES
@given(BYTES, st.sampled_from(["jsonl", "csv", "parquet", *PUBLISHED]), st.booleans())
def test_any_bytes_are_read_or_refused(content: bytes, kind: str, compressed: bool) -> None:
    name = {"jsonl": "x.jsonl", "csv": "x.csv", "parquet": "x.parquet"}.get(kind, "x.json")
    if compressed and kind != "parquet":
        name, content = f"{name}.gz", gzip.compress(content)[: max(5, len(content))]
    with written(name, content) as path:
        outcome(kind, path)


@TRIES
@given(st.lists(ROW, max_size=3), st.sampled_from(["jsonl", *PUBLISHED]))
def test_rows_of_any_types_are_read_or_refused(rows: list[dict[str, Any]], kind: str) -> None:
    content = "\n".join(map(json.dumps, rows)).encode()
    with written("x.jsonl", content) as path:
        outcome(kind, path)


@TRIES
@given(
    st.lists(st.tuples(TEXT.filter(str.strip), TEXT), min_size=1, max_size=4),
    ENDINGS, st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_texts_come_back_as_they_were_written(
    pairs: list[tuple[str, str]], ending: str, mark: bool, ascii_only: bool, compressed: bool
) -> None:
    dicts = [{"question": question, "answer": answer} for question, answer in pairs]
    lines = ending.join(json.dumps(row, ensure_ascii=ascii_only) for row in dicts) + ending
    content = lines.encode("utf-8-sig" if mark else "utf-8")
    name = "x.jsonl.gz" if compressed else "x.jsonl"
    with written(name, gzip.compress(content) if compressed else content) as path:
        found = outcome("jsonl", path)
    assert not isinstance(found, str)
    assert [(row.question, row.reference) for row in found] == pairs


@TRIES
@given(
    st.lists(st.tuples(TEXT.filter(str.strip), TEXT), min_size=1, max_size=4),
    ENDINGS,
    st.booleans(),
)
def test_csv_comes_back_as_it_was_written(
    pairs: list[tuple[str, str]], ending: str, mark: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("question", "answer"), *pairs])
    with written("x.csv", text.getvalue().encode("utf-8-sig" if mark else "utf-8")) as path:
        found = outcome("csv", path)
    assert not isinstance(found, str)
    assert [(row.question, row.reference) for row in found] == pairs


def test_lines_of_ten_megabytes_are_read() -> None:
    text = "x" * 10_000_000
    for name, content in (
        ("x.jsonl", json.dumps({"question": text, "answer": "1"})),
        ("x.csv", f"question,answer\n{text},1\n"),
    ):
        with written(name, content.encode()) as path:
            found = outcome(path.suffix[1:], path)
        assert not isinstance(found, str)
        assert [row.question for row in found] == [text]


COLUMNS: dict[str, Any] = {
    "integers": pa.array([1]),
    "bytes": pa.array([b"\xff"]),
    "nulls": pa.nulls(1),
    "nested": pa.array([{"a": [1, None]}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "dictionary": pa.array(["q"]).dictionary_encode(),
    "large text": pa.array(["q"], pa.large_string()),
    "decimal": pa.array(["1.5"]).cast(pa.decimal128(5, 2)),
    "not a number": pa.array([float("nan")]),
    "duration": pa.array([1], pa.duration("ns")),
    "nanoseconds": pa.array([1], pa.timestamp("ns")),
    "a date after the year 9999": pa.array([2**62], pa.timestamp("us")),
    "text that is not UTF-8": pa.StringArray.from_buffers(
        1, pa.py_buffer(bytes((0, 0, 0, 0, 1, 0, 0, 0))), pa.py_buffer(b"\xff")
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("field", ["question", "answer", "more"])
def test_parquet_of_any_type_is_read_or_refused(name: str, field: str) -> None:
    columns = {"question": pa.array(["q"]), "answer": pa.array(["a"])} | {field: COLUMNS[name]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    with written("x.parquet", buffer.getvalue()) as path:
        outcome("parquet", path)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "delta", *PUBLISHED])
@pytest.mark.parametrize(
    "location", ["/tmp/a\0b", "/tmp/\ud800", "/tmp/" + "x" * 300, "~nobody-here/x"]
)
@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_a_location_that_is_no_path_is_refused(kind: str, location: str, ending: str) -> None:
    found = outcome(kind, Path(location + ending))
    assert isinstance(found, str)


@pytest.mark.parametrize("options", [{"delimiter": "xx"}, {"delimiter": 5}, {"comma": ","}])
def test_options_that_csv_does_not_take_are_refused(options: dict[str, object]) -> None:
    with written("x.csv", b"question,answer\nq,a\n") as path:
        found = outcome("csv", path, options=options)
    assert isinstance(found, str)
    assert next(iter(options)) in found


def test_a_csv_field_that_is_named_twice_is_refused() -> None:
    with written("x.csv", b"question,question,answer\nq,z,a\n") as path:
        assert "must name each field once, got 'question' 2 times" in outcome("csv", path)


PLAIN: dict[str, Any] = {"problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]}}
SECTIONS = ("model", "problems", "prompt", "sampling", "reward", "curate", "improve", "evaluation",
            "engine", "training", "lake", "ray", "spark", "mlflow", "gate", "name", "seed", "output")  # fmt: skip


def loaded(content: bytes) -> str:
    """The message that refuses a configuration; empty if it is read."""
    with written("run.yaml", content) as path:
        try:
            json.dumps(load_config(path).pinned()).encode()
        except ConfigError as error:
            return str(error)
    return ""


@TRIES
@given(BYTES | ANY_TEXT.map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_a_configuration_or_refused(content: bytes) -> None:
    loaded(content)
    loaded(yaml.safe_dump(PLAIN).encode() + content)


@TRIES
@given(st.dictionaries(st.sampled_from(SECTIONS), VALUE, max_size=3))
def test_settings_of_any_type_are_read_or_refused(tree: dict[str, Any]) -> None:
    loaded(json.dumps(PLAIN | tree).encode())


@TRIES
@given(st.sampled_from(["file", "exemplars_file", "exemplars", "template"]), VALUE)
def test_a_prompt_of_any_type_is_read_or_refused(field: str, value: object) -> None:
    loaded(json.dumps(PLAIN | {"prompt": {field: value}}).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"seed: " + b"9" * 5000,
        b"seed: 0b_",
        b"seed: !!int ''",
        b"seed: !!bool x",
        b"name: 2020-99-99",
        b"name: !!timestamp x",
        b"name: !!python/object/apply:os.system [id]",
        b'output: "\\ud800"',
        b"engine: {extra: &a {x: *a}}",
        b"engine: {extra: " + b"{a: " * 3000 + b"1" + b"}" * 3001,
    ],
)
def test_what_yaml_cannot_convert_is_refused(line: bytes) -> None:
    assert "run.yaml: " in loaded(yaml.safe_dump(PLAIN).encode() + line)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("text", ["q\u2028z", "q\u0085z", "q\u001cz"])
def test_exemplars_may_hold_any_text(mark: bytes, ending: str, text: str) -> None:
    row = {"question": text, "solution": "1"}
    line = json.dumps(row, ensure_ascii=False).encode() + ending.encode()
    with written("e.jsonl", mark + line * 2) as path:
        assert read_exemplars(path) == [row, row]


@TRIES
@given(BYTES, st.sampled_from(["e.jsonl", "e.yaml"]))
def test_any_bytes_are_exemplars_or_refused(content: bytes, name: str) -> None:
    with written(name, content) as path:
        try:
            read_exemplars(path)
        except ConfigError:
            return  # a message, and not what a parser happened to raise


@pytest.mark.parametrize("text", ["{", "0b_", "9" * 5000, "!!int ''", "2020-99-99", "[" * 20_000])
def test_an_option_that_is_not_yaml_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set seed: the value is not YAML; quote it"):
        yaml_value("--set seed", text)
