"""The errors a user can meet. Each message names the field or row, the rule, the value, the remedy.

All are picklable with their one-string argument: Ray workers and subprocesses raise them.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_FAULTS = 10
"""Maximum number of faults listed in one message."""


class RestEMError(Exception):
    """Base of every error that restem reports without a traceback."""

    exit_code = 2


class ConfigError(RestEMError):
    """A configuration or an argument breaks a rule."""


class InputError(RestEMError):
    """A problem set, model or reward that the user named cannot be used as it is."""


class MachineError(RestEMError):
    """The machine lacks something: Java, memory, a port, a network."""


class LakeError(RestEMError):
    """The lake cannot take or give what was asked: another version, another config, a lock."""


class HeldByAnother(LakeError):
    """Another start of the run works on it: this one came later, or was taken for dead."""


class PolicyLost(LakeError):
    """A policy's checkpoint is not where it was stored, or does not hold its weights."""


class ExpectationsFailed(RestEMError):
    """A table breaks a critical expectation; it is not handed on."""

    exit_code = 3


class StageFailed(RestEMError):
    """A stage could not finish (an engine died too often, a training process failed)."""

    exit_code = 4


def first_line(error: BaseException) -> str:
    """The first line of an error's message that is not blank; its class's name if there is none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def list_faults(faults: Sequence[str], total: int) -> str:
    """The first faults, one per line, and the number of the others.

    Args:
        faults: at least the first MAX_FAULTS.
        total: number of faults.
    """
    others = [f"... and {total - MAX_FAULTS} more"] if total > MAX_FAULTS else []
    return "\n".join([*faults[:MAX_FAULTS], *others])
