from dataclasses import replace

from pipelines.sampling.sampler import DecodingSettings, Request, sample_id
from pipelines.sampling.scripted_sampler import ScriptedSampler
from schemas.samples import LENGTH, PROMPT_TOO_LONG, STOP

DECODING = DecodingSettings(0.7, top_k=40, top_p=1.0, max_tokens=3, stop=("\n",), max_model_len=64)
REQUEST = Request("p", "one two three", num_samples=2, decoding=DECODING, seed=10)


def test_equal_samples_have_equal_ids() -> None:
    first = sample_id("policy", "text", DECODING, 10, 0)
    assert first == sample_id("policy", "text", replace(DECODING), 10, 0)
    assert len(first) == 32
    assert set(first) <= set("0123456789abcdef")


def test_each_part_of_a_sample_changes_its_id() -> None:
    ids = {
        sample_id("policy", "text", DECODING, 10, 0),
        sample_id("other", "text", DECODING, 10, 0),
        sample_id("policy", "other", DECODING, 10, 0),
        sample_id("policy", "text", replace(DECODING, temperature=1.0), 10, 0),
        sample_id("policy", "text", replace(DECODING, stop=()), 10, 0),
        sample_id("policy", "text", replace(DECODING, max_model_len=128), 10, 0),
        sample_id("policy", "text", DECODING, 11, 0),
        sample_id("policy", "text", DECODING, 10, 1),
    }
    assert len(ids) == 8


def test_the_scripted_sampler_draws_every_index_with_its_own_seed() -> None:
    sampler = ScriptedSampler(lambda request, index: f"{request.prompt_id} {index}")
    (draws,) = sampler.draw([REQUEST])
    assert [draw.solution for draw in draws] == ["p 0", "p 1"]
    assert [draw.seed for draw in draws] == [10, 11]
    assert {(draw.finish_reason, draw.stop_string) for draw in draws} == {(STOP, "\n")}


def test_the_scripted_sampler_cuts_a_solution_at_max_tokens() -> None:
    (draws,) = ScriptedSampler(lambda request, index: "a b c d").draw([REQUEST])
    assert (draws[0].solution, draws[0].num_tokens) == ("a b c", 3)
    assert (draws[0].finish_reason, draws[0].stop_string) == (LENGTH, None)


def test_a_prompt_that_is_too_long_gets_all_its_rows_with_the_reason() -> None:
    (draws,) = ScriptedSampler(lambda request, index: "a", max_model_len=3).draw([REQUEST])
    assert [draw.index for draw in draws] == [0, 1]
    assert {draw.finish_reason for draw in draws} == {PROMPT_TOO_LONG}
    assert {(draw.solution, draw.log_probability) for draw in draws} == {("", None)}
