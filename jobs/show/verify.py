"""Score a file with a reward: the files around `pipelines.scoring.verify_file`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml
from pydantic import ValidationError

from pipelines.config import RewardConfig
from pipelines.config.load import explain_validation
from pipelines.errors import ConfigError, InputError
from pipelines.runtime.progress import for_terminal
from pipelines.scoring.verify_file import verify as verify_rows

_STANDARD = "-"


def verify(
    reward: str, source: str, target: str, options: dict[str, str], timeout: float | None
) -> None:
    """Score the rows of a file into another, and say how many got which verdict.

    Args:
        reward: as `reward.function` of a configuration.
        source: a JSONL file; `-` is standard input.
        target: the file to write; `-` is standard output. It is there when it is whole.
        options: the reward's, their values in YAML.
        timeout: seconds for one verdict; the configuration's default if None.

    Raises:
        RestEMError: the reward, a file or a row is not as it must be; nothing is written then.
    """
    config = reward_config(reward, options, timeout)
    progress = for_terminal(sys.stderr)  # standard output may be the rows'
    with _opened(source) as rows, _written(target, source) as lines:
        verdicts = verify_rows(config, rows, lines, progress, _name(source, "standard input"))
    found = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common())
    where = _name(target, "standard output")
    progress.say(f"{verdicts.total():,} verdicts in {where}: {found or 'none'}")


def reward_config(reward: str, options: dict[str, str], timeout: float | None) -> RewardConfig:
    """The reward as a configuration would name it.

    Raises:
        ConfigError: an option is not YAML, or the timeout breaks its rule.
    """
    tree: dict[str, Any] = {"function": reward, "options": {}}
    for key, text in options.items():
        try:
            tree["options"][key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--option {key}: the value is not YAML, got {text!r}") from None
    if timeout is not None:
        tree["timeout_seconds"] = timeout
    try:
        return RewardConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain_validation(error, "verify")) from None


@contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    if source == _STANDARD:
        with tempfile.TemporaryFile() as spooled:  # it is read twice
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
