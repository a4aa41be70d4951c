"""What a stored run would run on this machine: code that the lake names, which may be a stranger's."""

from __future__ import annotations

from pipelines.config import RewardConfig, RunConfig
from pipelines.config.suites import rewards_by_suite
from pipelines.errors import ConfigError
from pipelines.rewards.resolve import BUILT_IN

_SANDBOX = "sandbox"


def require_trust(stored: RunConfig, own: RunConfig | None = None) -> None:
    """Require that a run in a lake names no code but the built-in rewards and the user's own.

    Nothing is imported: looking a function up already runs its package.

    Args:
        stored: the configuration in the lake.
        own: the user's own configuration, whose rewards are trusted.

    Raises:
        ConfigError: it names other code; the message says which.
    """
    trusted = {} if own is None else _code(own)
    found = [line for code, line in _code(stored).items() if code not in trusted]
    if found:
        listed = "".join(f"\n  {line}" for line in found)
        raise ConfigError(
            f"run {stored.name!r}: the lake names code that would run on this machine:{listed}\n"
            "read that code first; then add --trust, or --config with your own configuration that "
            "names it"
        )


def _code(config: RunConfig) -> dict[tuple[str, str], str]:
    """The code that a run's rewards would run, and a line on each."""
    rewards = {"reward": config.reward}
    rewards |= {f"reward of suite {name}": r for name, r in rewards_by_suite(config).items()}
    found: dict[tuple[str, str], str] = {}
    for name, reward in rewards.items():
        for code, line in _of(name, reward):
            found.setdefault(code, line)
    return found


def _of(name: str, reward: RewardConfig) -> list[tuple[tuple[str, str], str]]:
    if reward.function not in BUILT_IN:
        return [((reward.function, ""), f"{name}: function {reward.function}")]
    if reward.options.get(_SANDBOX) == "none":
        line = f"{name}: {reward.function} with sandbox none, the samples' programs unconfined"
        return [((reward.function, _SANDBOX), line)]
    return []
