import pyarrow as pa

from pipelines.sampling.chunks import pending_chunks, requests_of, sample_rows
from pipelines.sampling.scripted_sampler import ScriptedSampler
from schemas import SAMPLES
from tests.pipelines.sampling.prompts import committed_table, prompt, prompt_table


def ids(chunks: list[pa.Table]) -> list[list[str]]:
    return [[row["prompt_id"] for row in chunk.to_pylist()] for chunk in chunks]


def test_chunks_have_each_prompt_once_in_problem_order() -> None:
    prompts = prompt_table(*(prompt(name) for name in ("d", "a", "e", "c", "b")))
    assert ids(pending_chunks(prompts, committed_table(), 2, 64)) == [["a", "b"], ["c", "d"], ["e"]]


def test_prompts_with_committed_samples_are_left_out() -> None:
    prompts = prompt_table(*(prompt(name) for name in "abcd"))
    assert ids(pending_chunks(prompts, committed_table("b", "b", "d"), 10, 64)) == [["a", "c"]]
    assert pending_chunks(prompts, committed_table(*"abcd"), 10, 64) == []


def test_prompts_of_the_same_problem_are_together() -> None:
    prompts = prompt_table(
        prompt("z", problem_id="1"), prompt("m", problem_id="2"), prompt("a", problem_id="1")
    )
    assert ids(pending_chunks(prompts, committed_table(), 2, 64)) == [["a", "z"], ["m"]]


def test_rows_have_every_column_of_samples_but_the_partition_columns() -> None:
    prompts = prompt_table(prompt("a", seed=500), prompt("b", num_samples=1, seed=900))
    (chunk,) = pending_chunks(prompts, committed_table(), 10, 64)
    solutions = ScriptedSampler(lambda request, index: f"four {index}").draw(requests_of(chunk))
    rows = sample_rows("policy", chunk, solutions)
    assert rows.column_names == [
        name for name in SAMPLES.column_names if name not in ("run_id", "iteration")
    ]
    assert rows["prompt_id"].to_pylist() == ["a", "a", "b"]
    assert rows["index"].to_pylist() == [0, 1, 0]
    assert rows["seed"].to_pylist() == [500, 501, 900]
    assert rows["stop_string"].to_pylist() == ["\n", "\n", "\n"]
    assert rows["solution"].to_pylist() == ["four 0", "four 1", "four 0"]
    assert len(set(rows["sample_id"].to_pylist())) == 3


def test_samples_of_another_context_length_have_other_ids() -> None:
    prompts = prompt_table(prompt("a", num_samples=1))

    def id_at(max_model_len: int) -> str:
        (chunk,) = pending_chunks(prompts, committed_table(), 10, max_model_len)
        solutions = ScriptedSampler(lambda *_: "four").draw(requests_of(chunk))
        found: str = sample_rows("policy", chunk, solutions)["sample_id"][0].as_py()
        return found

    assert id_at(64) == id_at(64) != id_at(128)
