import pytest

from pipelines.errors import InputError
from pipelines.tuning.packing import PackedRows, TrainingRow, pack, shared_prefix
from tests.pipelines.tuning.rows import FEW_SHOT, TRAIN_ROWS
from tests.tiny_model import tiny_tokenizer


def test_a_row_is_the_tokenized_prompt_and_then_the_solution_with_its_stop_string() -> None:
    tokenizer = tiny_tokenizer()
    packed = pack(tokenizer, TRAIN_ROWS, max_model_len=512)
    for row, (prompt, solution, weight, _) in zip(packed.rows, TRAIN_ROWS, strict=True):
        start = packed.prefix + row.tokens[: row.num_prompt]
        assert list(start) == tokenizer(prompt)["input_ids"]
        assert tokenizer.decode(list(row.tokens[row.num_prompt :])) == f"{solution}\n"
        assert row.weight == weight


def test_each_row_is_trained_to_end_as_it_ended() -> None:
    tokenizer = tiny_tokenizer()
    rows = [TrainingRow("ab", "cd", 1.0, end) for end in ("\n", "Question", None)]
    ends = [row.tokens[row.num_prompt :] for row in pack(tokenizer, rows, 64).rows]
    assert [tokenizer.decode(list(tokens)) for tokens in ends[:2]] == ["cd\n", "cdQuestion"]
    assert ends[2] == (*tokenizer("cd")["input_ids"], tokenizer.eos_token_id)


def test_the_shared_prefix_is_at_least_the_few_shot_text() -> None:
    tokenizer = tiny_tokenizer()
    packed = pack(tokenizer, TRAIN_ROWS, max_model_len=512)
    assert str(tokenizer.decode(list(packed.prefix))).startswith(FEW_SHOT)


def test_a_token_that_spans_the_end_of_the_shared_text_is_not_in_the_prefix() -> None:
    # "th" is one token: the texts share "t", the tokenized prompts share nothing.
    rows = [TrainingRow("that", "x", 1.0, "\n"), TrainingRow("tat", "x", 1.0, "\n")]
    assert pack(tiny_tokenizer(), rows, 64).prefix == ()


def test_a_solution_that_would_merge_with_the_prompt_is_tokenized_by_itself() -> None:
    tokenizer = tiny_tokenizer()
    (row,) = pack(tokenizer, [TrainingRow("say a", "nd", 1.0, "\n")], 64).rows
    assert row.tokens[row.num_prompt :] == tuple(tokenizer("nd\n")["input_ids"])


def test_equal_prompts_keep_their_last_token_out_of_the_prefix() -> None:
    rows = [TrainingRow("abc", "x", 1.0, "\n"), TrainingRow("abc", "y", 1.0, "\n")]
    packed = pack(tiny_tokenizer(), rows, 64)
    assert len(packed.prefix) == 2
    assert [row.num_prompt for row in packed.rows] == [1, 1]


def test_the_shared_prefix_is_the_longest_that_leaves_every_prompt_a_token() -> None:
    assert shared_prefix([(1, 2, 3), (2, 2, 3)]) == ()
    assert shared_prefix([(1, 2, 3, 4), (1, 2)]) == (1,)
    assert shared_prefix([(1, 2, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5)]) == (1, 2)


def test_no_rows_are_packed_to_no_rows() -> None:
    assert pack(tiny_tokenizer(), [], 64) == PackedRows((), ())


def test_a_row_longer_than_the_model_is_left_out_and_counted() -> None:
    rows = [TrainingRow("ab", text, 1.0, "\n") for text in ("cd", "c" * 60, "c" * 17, "c" * 18)]
    packed = pack(tiny_tokenizer(), rows, 20)
    assert [row.num_labels for row in packed.rows] == [3, 18]
    assert packed.num_too_long == 2


def test_rows_that_are_all_too_long_are_refused() -> None:
    rows = [TrainingRow("ab", "c" * 60, 1.0, "\n")]
    with pytest.raises(InputError, match=r"none of the 1 rows.*model\.max_model_len.*20"):
        pack(tiny_tokenizer(), rows, 20)


def test_an_end_of_text_that_the_tokenizer_lacks_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end-of-text token"):
        pack(tokenizer, [TrainingRow("ab", "cd", 1.0, None)], 64)
