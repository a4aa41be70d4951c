import pytest

from pipelines.errors import InputError
from pipelines.tuning.packing import PackedRows, TrainingRow, pack, shared_prefix
from tests.pipelines.tuning.rows import FEW_SHOT, TRAIN_ROWS
from tests.tiny_model import tiny_tokenizer


def test_a_row_is_the_tokenized_prompt_and_then_the_solution_with_its_stop_string() -> None:
    tokenizer = tiny_tokenizer()
    packed = pack(tokenizer, TRAIN_ROWS, ["\n", "Question"], max_model_len=512)
    for row, (prompt, solution, weight) in zip(packed.rows, TRAIN_ROWS, strict=True):
        start = packed.prefix + row.tokens[: row.num_prompt]
        assert list(start) == tokenizer(prompt)["input_ids"]
        assert tokenizer.decode(list(row.tokens[row.num_prompt :])) == f"{solution}\n"
        assert row.weight == weight


def test_without_stop_strings_the_end_of_text_token_is_the_last_label() -> None:
    packed = pack(tiny_tokenizer(), TRAIN_ROWS[:2], [], max_model_len=512)
    assert [row.tokens[-1] for row in packed.rows] == [2, 2]


def test_the_shared_prefix_is_at_least_the_few_shot_text() -> None:
    tokenizer = tiny_tokenizer()
    packed = pack(tokenizer, TRAIN_ROWS, ["\n"], max_model_len=512)
    assert str(tokenizer.decode(list(packed.prefix))).startswith(FEW_SHOT)


def test_a_token_that_spans_the_end_of_the_shared_text_is_not_in_the_prefix() -> None:
    # "th" is one token: the texts share "t", the tokenized prompts share nothing.
    rows = [TrainingRow("that", "x", 1.0), TrainingRow("tat", "x", 1.0)]
    assert pack(tiny_tokenizer(), rows, ["\n"], 64).prefix == ()


def test_a_solution_that_would_merge_with_the_prompt_is_tokenized_by_itself() -> None:
    tokenizer = tiny_tokenizer()
    (row,) = pack(tokenizer, [TrainingRow("say a", "nd", 1.0)], ["\n"], 64).rows
    assert row.tokens[row.num_prompt :] == tuple(tokenizer("nd\n")["input_ids"])


def test_equal_prompts_keep_their_last_token_out_of_the_prefix() -> None:
    rows = [TrainingRow("abc", "x", 1.0), TrainingRow("abc", "y", 1.0)]
    packed = pack(tiny_tokenizer(), rows, ["\n"], 64)
    assert len(packed.prefix) == 2
    assert [row.num_prompt for row in packed.rows] == [1, 1]


def test_the_shared_prefix_is_the_longest_that_leaves_every_prompt_a_token() -> None:
    assert shared_prefix([(1, 2, 3), (2, 2, 3)]) == ()
    assert shared_prefix([(1, 2, 3, 4), (1, 2)]) == (1,)
    assert shared_prefix([(1, 2, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5)]) == (1, 2)


def test_no_rows_are_packed_to_no_rows() -> None:
    assert pack(tiny_tokenizer(), [], ["\n"], 64) == PackedRows((), ())


def test_a_row_longer_than_the_model_is_named() -> None:
    rows = [TrainingRow("ab", "cd", 1.0), TrainingRow("ab", "c" * 60, 1.0)]
    with pytest.raises(InputError, match=r"row 2 has 63 tokens, model\.max_model_len is 20"):
        pack(tiny_tokenizer(), rows, ["\n"], 20)
