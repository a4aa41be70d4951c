"""`restem verify`: opens the files and scores one into the other."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from pipelines.config import RewardConfig
from pipelines.config.load import explain_validation, yaml_value
from pipelines.errors import ConfigError, InputError
from pipelines.runtime.progress import for_terminal
from pipelines.scoring.score_file import score_file

_STANDARD = "-"
_REASONS_SHOWN = 3


def verify_file(
    reward: str, source: str, target: str, options: dict[str, str], timeout: float | None
) -> None:
    """Score the rows of a file into another, and print the number of rows per verdict.

    Args:
        reward: as `reward.function` of a configuration.
        source: a JSONL file; `-` is standard input.
        target: the file to write, created only once it is complete; `-` is standard output.
        options: the reward's options, with values in YAML.
        timeout: seconds per verdict; None for the configuration's default.

    Raises:
        RestEMError: the reward, a file or a row cannot be used; nothing is written. Or the reward
            failed on every row; the target says why.
    """
    config = reward_config(reward, options, timeout)
    progress = for_terminal(sys.stderr)  # standard output may hold the rows
    with _opened(source) as rows, _written(target, source) as lines:
        scores = score_file(config, rows, lines, progress, _name(source, "standard input"))
    found = ", ".join(f"{count:,} {verdict}" for verdict, count in scores.verdicts.most_common())
    where, total = _name(target, "standard output"), scores.verdicts.total()
    progress.say(f"{total:,} verdicts in {where}: {found or 'none'}")
    for reason, count in scores.failures.most_common(_REASONS_SHOWN):
        progress.say(f"  the reward failed on {count:,} rows: {reason}")
    if total and scores.failures.total() == total:
        raise InputError(
            f"reward.function: the reward failed on all {total:,} rows; most often it "
            f"{scores.failures.most_common(1)[0][0]}; mend it, or look for the cause in the rows"
        )


def reward_config(reward: str, options: dict[str, str], timeout: float | None) -> RewardConfig:
    """The `reward` section that a configuration would have.

    Raises:
        ConfigError: an option is not YAML, or the timeout breaks its rule.
    """
    values = {key: yaml_value(f"--option {key}", text) for key, text in options.items()}
    tree: dict[str, object] = {"function": reward, "options": values}
    if timeout is not None:
        tree["timeout_seconds"] = timeout
    try:
        return RewardConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain_validation(error, "verify", model=RewardConfig)) from None


@contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    if source == _STANDARD:
        with tempfile.TemporaryFile() as spooled:  # the input is read twice
            shutil.copyfileobj(sys.stdin.buffer, spooled)
            yield spooled
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below; only opening it is guarded
    except OSError as error:
        raise InputError(
            f"INPUT: cannot read {source} ({error.strerror}); check the path"
        ) from None
    with file:
        yield file


@contextmanager
def _written(target: str, source: str) -> Iterator[IO[str]]:
    if target == _STANDARD:
        yield sys.stdout
        return
    path = Path(target)
    if path.exists() and source != _STANDARD and path.samefile(source):
        raise InputError(f"OUTPUT must be another file than INPUT, got {target} for both")
    if path.exists() and not path.is_file():  # a pipe or a device is written, never replaced
        with _writable(path, target) as file:
            yield file
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _writable(partial, target) as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _writable(path: Path, target: str) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"OUTPUT: cannot write {target} ({error.strerror}); check the path"
        ) from None


def _name(path: str, stream: str) -> str:
    return stream if path == _STANDARD else path
