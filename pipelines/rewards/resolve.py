"""From the configuration's `reward` section to a reward function, its name and its version."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import platform
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError
from pipelines.rewards import (
    exact_match,
    hendrycks_math,
    math_answer,
    math_verify_library,
    unit_tests,
)
from pipelines.rewards.verdict import RewardFunction, Verdict
from schemas.rewards import CHECKER_FAILURES, CORRECT, ERROR, PROGRAM_CHECKER_FAILURES, WRONG

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

TextReward = math_answer.MathAnswer | exact_match.ExactMatch
"""Rewards that score most or all solutions by comparing text, in bounded time."""

_TEXT_REWARDS: dict[str, Callable[..., TextReward]] = {
    "math_answer": math_answer.math_answer,
    "exact_match": exact_match.exact_match,
}
BenchmarkReward = hendrycks_math.HendrycksMath | math_verify_library.MathVerify
"""Rewards that judge as others do, for figures that can be compared with theirs."""

_BENCHMARK_REWARDS: dict[str, Callable[..., BenchmarkReward]] = {
    "math_verify": math_verify_library.math_verify,
    "hendrycks_math": hendrycks_math.hendrycks_math,
}
BUILT_IN: dict[str, Callable[..., TextReward | BenchmarkReward | unit_tests.UnitTests]] = {
    **_TEXT_REWARDS,
    **_BENCHMARK_REWARDS,
    "unit_tests": unit_tests.unit_tests,
}
_PYTHON = "python:"
_MAX_MESSAGE = 200


def resolve_reward(config: RewardConfig) -> RewardFunction:
    """The reward function that the configuration names.

    Raises:
        ConfigError: there is none of that name, or its options do not fit.
    """
    return resolve_function(config.function, reward_options(config))


def reward_options(config: RewardConfig) -> Mapping[str, object]:
    """The options of the reward, which for `unit_tests` include the limits on a verdict.

    Raises:
        ConfigError: the limits are given as options.
    """
    if config.function != "unit_tests":
        return config.options
    limits = {
        "timeout_seconds": config.timeout_seconds,
        "memory_limit_mb": config.memory_limit_mb,
    }
    for name in limits:
        if name in config.options:
            raise ConfigError(f"reward.options must not have {name}; set reward.{name}")
    return {**config.options, **limits}


def resolve_function(function: str, options: Mapping[str, object]) -> RewardFunction:
    """`resolve_reward` for a process that does not have the configuration."""
    if function in BUILT_IN:
        try:
            return BUILT_IN[function](**options)
        except TypeError as error:
            raise ConfigError(f"reward.options does not fit {function}: {error}") from None
    found = _user_function(function)
    _require_options(function, found, options)
    return partial(_score, found, options)


def _require_options(
    name: str, function: Callable[..., object], options: Mapping[str, object]
) -> None:
    """Require that a user's function can be called with the options."""
    try:
        inspect.signature(function).bind("solution", "reference", **options)
    except ValueError:
        return  # Some functions of C libraries do not tell their signature.
    except TypeError as error:
        raise ConfigError(
            f"reward.options does not fit {name}, which is called with a solution, a reference and "
            f"the options: {error}; it is {name.rpartition(':')[2]}{inspect.signature(function)}"
        ) from None


def text_reward(config: RewardConfig) -> TextReward | None:
    """The reward if it can score without a worker; None if every solution needs one."""
    if config.function not in _TEXT_REWARDS:
        return None
    return _TEXT_REWARDS[config.function](**config.options)


def answer_reward(config: RewardConfig) -> TextReward | BenchmarkReward | None:
    """The reward if its verdicts name an answer that can be compared; else None."""
    rewards = {**_TEXT_REWARDS, **_BENCHMARK_REWARDS}
    return rewards[config.function](**config.options) if config.function in rewards else None


def checker_failures(config: RewardConfig) -> tuple[str, ...]:
    """Verdicts of the reward which mean that the reward failed, not the solution."""
    return PROGRAM_CHECKER_FAILURES if config.function == "unit_tests" else CHECKER_FAILURES


def verifier_name(config: RewardConfig) -> str:
    """The name that verdicts are stored under."""
    return config.function


def verifier_version(config: RewardConfig) -> str:
    """Verifier version: version of the code, versions of its dependencies, hash of the options.

    For a user's function, the version of the code is a hash of its file.

    Raises:
        ConfigError: the function's module cannot be found.
    """
    options = _digest(json.dumps(reward_options(config), sort_keys=True, default=str).encode())
    if config.function == "exact_match":
        return f"{exact_match.VERSION}+{options}"
    if config.function == "hendrycks_math":
        return f"{hendrycks_math.VERSION}+{options}"
    if config.function == "unit_tests":
        return f"{unit_tests.VERSION}+python-{platform.python_version()}+{options}"
    if config.function in BUILT_IN:
        is_library = config.function == "math_verify"
        code = math_verify_library.VERSION if is_library else math_answer.VERSION
        return f"{code}+math-verify-{version('math-verify')}+{options}"
    return f"{_digest(_source(config.function))}+{options}"


def as_verdict(returned: object) -> Verdict:
    """The value that a user's function returned, as a verdict: a positive reward is `correct`."""
    if isinstance(returned, Verdict):
        return returned if math.isfinite(returned.reward) else _not_a_reward(returned.reward)
    value = _scalar(returned)
    if not isinstance(value, Real) or not math.isfinite(value):
        return _not_a_reward(returned)
    reward = float(value)
    return Verdict(reward, CORRECT if reward > 0 else WRONG)


def _score(
    function: Callable[..., object], options: Mapping[str, object], solution: str, reference: str
) -> Verdict:
    try:
        return as_verdict(function(solution, reference, **options))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a user's code may raise anything; the row says what
        return Verdict(0.0, ERROR, detail=_raised(error, function))


def _raised(error: Exception, function: Callable[..., object]) -> str:
    """What a user's function raised, with the last line of its own file that was executed."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(function), "__code__", None)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    frame = (own or frames)[-1]
    message = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_MESSAGE]
    return f"raised {message} ({Path(frame.filename).name}, line {frame.lineno})"


def _scalar(returned: object) -> object:
    """The Python value of a scalar of numpy or torch, whose bool is not a number to Python."""
    is_scalar = getattr(returned, "shape", None) == () and hasattr(returned, "item")
    return returned.item() if is_scalar else returned  # type: ignore[attr-defined]


def _not_a_reward(returned: object) -> Verdict:
    shown, kind = repr(returned)[:80], type(returned).__name__
    return Verdict(
        0.0,
        ERROR,
        detail=f"returned {shown} ({kind}); a reward is a bool, a finite number or a Verdict",
    )


def _split(function: str) -> tuple[str, str]:
    module, colon, name = function.removeprefix(_PYTHON).partition(":")
    if not function.startswith(_PYTHON) or not colon or not module or not name:
        names = ", ".join(BUILT_IN)
        raise ConfigError(
            f"reward.function must be {names} or python:module:function, got {function!r}"
        )
    return module, name


def _user_function(function: str) -> Callable[..., object]:
    module_name, name = _split(function)
    _add_current_folder()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - importing runs the user's code
        raise ConfigError(
            f"reward.function {function!r}: module {module_name} cannot be imported "
            f"({type(error).__name__}: {error}); it is looked for in {Path.cwd()} and PYTHONPATH"
        ) from None
    found = getattr(module, name, None)
    if not callable(found):
        others = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise ConfigError(
            f"reward.function {function!r} must name a function of {module_name}, which has no "
            f"function {name!r}; it has {', '.join(sorted(others)[:10]) or 'none'}"
        )
    return found


def _source(function: str) -> bytes:
    module, _ = _split(function)
    _add_current_folder()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"reward.function {function!r}: there is no module {module} in {Path.cwd()} "
            "or PYTHONPATH"
        )
    origin = Path(spec.origin)
    return origin.read_bytes() if origin.is_file() else spec.origin.encode()


def _add_current_folder() -> None:
    """Put the current folder on the module search path, for the user's modules."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
