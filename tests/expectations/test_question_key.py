from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.question_key import question_key, question_key_sql

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WHITE_SPACE = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]

spaces = st.text(st.sampled_from(WHITE_SPACE))
words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=WHITE_SPACE), min_size=1
)


@given(st.lists(words), st.data())
def test_white_space_around_and_between_words_does_not_matter(
    parts: list[str], data: st.DataObject
) -> None:
    between = [data.draw(spaces) + data.draw(st.sampled_from(WHITE_SPACE)) for _ in parts]
    spaced = "".join(part + space for part, space in zip(parts, between, strict=True))
    assert question_key(data.draw(spaces) + spaced) == question_key(" ".join(parts))


@given(st.lists(st.text(st.sampled_from("abcXYZ019"), min_size=1)))
def test_case_does_not_matter(parts: list[str]) -> None:
    text = " ".join(parts)
    assert question_key(text.upper()) == question_key(text.swapcase()) == question_key(text)


@given(st.text())
def test_a_key_has_single_spaces_alone_and_is_its_own_key(text: str) -> None:
    key = question_key(text)
    assert question_key(key) == key
    assert key.split() == [word for word in key.split(" ") if word]
    assert key == key.strip()


@given(words, words)
def test_words_are_told_apart(first: str, second: str) -> None:
    assert question_key(f"{first} {second}") != question_key(first + second)


@pytest.mark.slow
def test_spark_folds_the_same_white_space_as_python(spark: SparkSession) -> None:
    codes = [code for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF]
    texts = pa.table({"code": codes, "text": [f"a{chr(code) * 2}b" for code in codes]})
    folded = spark.createDataFrame(texts).where(f"{question_key_sql('text')} = 'a b'").collect()
    assert sorted(chr(row["code"]) for row in folded) == WHITE_SPACE


@pytest.mark.slow
def test_spark_and_python_give_the_same_key(spark: SparkSession) -> None:
    texts = [" What\u00a0is\n 1 + 1? ", "\u3000ÉTÉ ÅNGSTRÖM\u001f", "", "ΟΔΟΣ ΣΑΣ", "\u2003"]
    frame = spark.createDataFrame(pa.table({"text": texts}))
    keys = [row[0] for row in frame.selectExpr(question_key_sql("text")).collect()]
    assert keys == [question_key(text) for text in texts]
