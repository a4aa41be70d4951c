import pyarrow as pa

from pipelines.sampling.chunks import (
    answered_request,
    part_of,
    pending_chunks,
    prompt_ids,
    requests_of,
    sample_rows,
)
from pipelines.sampling.sampler import control_of
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


def test_the_shortest_prompt_with_a_solution_shows_that_an_engine_works() -> None:
    prompts = prompt_table(
        prompt("a", text="long and drawn"),
        prompt("b", text="drawn", num_samples=3, max_tokens=500, seed=7),
        prompt("c", text="x"),
        prompt("d", text="y"),
    )
    drawn = committed_table("a", "b", "b")
    killed = committed_table("c", finish_reason="engine_killed")
    too_long = committed_table("d", finish_reason="prompt_too_long")
    found = answered_request(prompts, pa.concat_tables([drawn, killed, too_long]), 64)
    assert found is not None
    assert (found.prompt_id, found.text, found.decoding.max_model_len) == ("b", "drawn", 64)
    control = control_of(found)
    assert (control.num_samples, control.decoding.max_tokens, control.seed) == (1, 16, 7)
    assert answered_request(prompts, killed, 64) is None
    assert answered_request(prompts, committed_table(), 64) is None


def test_a_part_of_a_chunk_keeps_its_order() -> None:
    prompts = prompt_table(prompt("a", text="1234"), prompt("b", text="12"), prompt("c", text="1"))
    (chunk,) = pending_chunks(prompts, committed_table(), 10, 64)
    assert prompt_ids(chunk) == ("c", "b", "a")
    assert part_of(chunk, ("c", "a"))["prompt_id"].to_pylist() == ["a", "c"]
