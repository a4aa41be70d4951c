import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config import RewardConfig
from pipelines.errors import ConfigError
from pipelines.rewards.math_answer import MathAnswer
from pipelines.rewards.resolve import (
    as_verdict,
    checker_failures,
    resolve_reward,
    verifier_name,
    verifier_version,
)
from pipelines.rewards.verdict import Verdict

SAMPLES = "python:tests.pipelines.rewards.sample_rewards"


def config(function: str, **options: Any) -> RewardConfig:
    return RewardConfig(function=function, options=options)


def test_a_built_in_reward_takes_its_options() -> None:
    assert resolve_reward(config("math_answer", extract=["hash"])) == MathAnswer(("hash",))


def test_a_users_function_is_found_and_takes_its_options() -> None:
    reward = resolve_reward(config(f"{SAMPLES}:share_of_words", scale=4))
    assert reward("red and blue", "red green") == Verdict(2.0, "correct")


def test_a_users_function_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_reward.py").write_text("def score(solution, reference): return 1")
    monkeypatch.chdir(tmp_path)
    assert resolve_reward(config("python:my_own_reward:score"))("", "").reward == 1.0


@pytest.mark.parametrize(
    ("returned", "verdict"),
    [
        (True, Verdict(1.0, "correct")),
        (False, Verdict(0.0, "wrong")),
        (1, Verdict(1.0, "correct")),
        (0.25, Verdict(0.25, "correct")),
        (-2.0, Verdict(-2.0, "wrong")),
        (Fraction(1, 2), Verdict(0.5, "correct")),
        (Verdict(0.0, "timeout"), Verdict(0.0, "timeout")),
    ],
)
def test_a_function_may_return_a_number_or_a_verdict(returned: object, verdict: Verdict) -> None:
    assert as_verdict(returned) == verdict


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (None, "returned None (NoneType)"),
        ("1.0", "returned '1.0' (str)"),
        (float("nan"), "returned nan (float)"),
        (float("inf"), "returned inf (float)"),
        ([1.0], "returned [1.0] (list)"),
        (Verdict(float("nan"), "correct"), "returned nan (float)"),
    ],
)
def test_any_other_value_is_an_error_that_names_it(returned: object, shown: str) -> None:
    verdict = as_verdict(returned)
    assert (verdict.reward, verdict.verdict) == (0.0, "error")
    assert verdict.detail is not None
    assert verdict.detail.startswith(shown)


def test_an_exception_in_a_users_function_is_an_error_that_names_it() -> None:
    verdict = resolve_reward(config(f"{SAMPLES}:obeys"))("raise no luck", "")
    assert verdict.verdict == "error"
    assert verdict.detail == "raised RuntimeError: no luck (sample_rewards.py, line 50)"


KNOWN = (
    "must be math_answer, exact_match, math_verify, hendrycks_math, unit_tests or "
    "python:module:function"
)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            "math_anwser",
            f"{KNOWN}, got 'math_anwser'",
        ),
        ("python:module", KNOWN),
        ("python::f", KNOWN),
        ("python:no_such_module:f", "module no_such_module cannot be imported"),
        (f"{SAMPLES}:absent", "has no function 'absent'; it has Path, Verdict, obeys"),
    ],
)
def test_an_unknown_function_is_refused_by_name(function: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"reward\.function .*" + re.escape(says)):
        resolve_reward(config(function))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reward\.options does not fit math_answer: .*'form'"):
        resolve_reward(config("math_answer", form="boxed"))


def test_the_version_follows_the_options_and_the_users_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = verifier_version(config("math_answer"))
    assert plain == verifier_version(config("math_answer"))
    assert plain != verifier_version(config("math_answer", extract=["hash"]))

    module = tmp_path / "changing_reward.py"
    module.write_text("def score(solution, reference): return 1")
    monkeypatch.chdir(tmp_path)
    before = verifier_version(config("python:changing_reward:score"))
    module.write_text("def score(solution, reference): return 0")
    assert verifier_version(config("python:changing_reward:score")) != before


def test_the_version_of_a_missing_module_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no module no_such_module"):
        verifier_version(config("python:no_such_module:f"))


def test_verdicts_are_stored_under_the_configured_name() -> None:
    assert verifier_name(config("math_answer")) == "math_answer"
    assert verifier_name(config(f"{SAMPLES}:same_text")) == f"{SAMPLES}:same_text"


def test_running_out_of_time_or_memory_is_a_programs_own_failure() -> None:
    own = {"parse_error", "error"}
    assert set(checker_failures(config("unit_tests"))) == own
    assert set(checker_failures(config("math_answer"))) == own | {"timeout", "memory"}


@pytest.mark.parametrize(
    ("returned", "reward", "verdict"),
    [
        (np.bool_(True), 1.0, "correct"),
        (np.bool_(False), 0.0, "wrong"),
        (np.float32(0.5), 0.5, "correct"),
        (np.array(2), 2.0, "correct"),
        (np.float64("nan"), 0.0, "error"),
        (np.array([1.0]), 0.0, "error"),
        (np.str_("1"), 0.0, "error"),
    ],
)
def test_numpys_scalars_are_rewards(returned: object, reward: float, verdict: str) -> None:
    assert (as_verdict(returned).reward, as_verdict(returned).verdict) == (reward, verdict)
