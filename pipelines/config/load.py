"""Read a run's configuration from its file, with `--set` and the prompts' files applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from pipelines.config import RunConfig
from pipelines.config.secret import clean
from pipelines.errors import ConfigError, first_line
from pipelines.runtime.plain_text import unstorable

_PROMPT_NOTES = ("source", "licence", "note")
"""Fields of a prompt's file that say where it comes from; not settings."""
_FAULTS_OF_SCALARS = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What PyYAML raises for a tagged or resolved scalar that it then cannot convert."""
_FREE_MAPPINGS = ("conf", "extra", "options", "storage_options")
"""Fields whose values are arguments of a library or a function."""


def load_config(path: Path, name: str | None = None, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Read a configuration file.

    The prompts' files are read too, and their texts take the place of the files' names: the texts
    decide the rows, so the texts are what a run is pinned to.

    Args:
        path: YAML file.
        name: replaces the run name in the file.
        overrides: `section.field=value` items, the value in YAML.

    Raises:
        ConfigError: a file is missing or is not YAML, or a field breaks its rule.
    """
    tree = _read_yaml(path)
    for item in overrides:
        _override(tree, item)
    if name is not None:
        tree["name"] = name
    tree.setdefault("name", path.stem)
    # Sections of the wrong type are left to the validation, which names them.
    evaluation = tree.get("evaluation")
    suites = evaluation.get("suites") if isinstance(evaluation, dict) else None
    for section in [tree, *(suites if isinstance(suites, list) else [])]:
        if isinstance(section, dict) and isinstance(section.get("prompt"), dict):
            section["prompt"] = _with_texts(section["prompt"], path.parent)
    try:
        text = unstorable(tree)
        if text is not None:
            raise ConfigError(
                f"{path}: {text} has half of a surrogate pair, which no text file can hold; "
                "correct it"
            )
        config = RunConfig.model_validate(tree)
        config.stored()  # settings that cannot be stored must stop here, not at the first commit
    except ValidationError as error:
        raise ConfigError(explain_validation(error, str(path))) from None
    except (RecursionError, PydanticSerializationError, ValueError):
        raise ConfigError(
            f"{path}: settings are nested too deeply, or hold themselves; write them out"
        ) from None
    return config


def _with_texts(prompt: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A prompt's settings, `file` and `exemplars_file` replaced by what the files hold."""
    settings = dict(prompt)
    file = settings.pop("file", None)
    if file is not None:
        in_file = _read_yaml(folder / _path("prompt.file", file))
        settings = {k: v for k, v in in_file.items() if k not in _PROMPT_NOTES} | settings
    exemplars_file = settings.pop("exemplars_file", None)
    if exemplars_file is not None:
        settings["exemplars"] = read_exemplars(
            folder / _path("prompt.exemplars_file", exemplars_file)
        )
    return settings


def _path(field: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{field} must be the path of a file, got {value!r}; correct it")
    return value


def read_exemplars(path: Path) -> list[dict[str, str]]:
    """Few-shot exemplars from a YAML or JSONL file of `question` and `solution`.

    Raises:
        ConfigError: the file is missing, or an exemplar lacks a field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"prompt.exemplars_file: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"prompt.exemplars_file: {path} is not UTF-8 text") from None
    is_jsonl = path.suffix == ".jsonl"
    rows: object = _json_lines(path, text) if is_jsonl else _yaml(path, text)
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: must be a list of exemplars, got {type(rows).__name__}")
    for number, row in enumerate(rows, 1):
        for field in ("question", "solution"):
            if not isinstance(row, dict) or not isinstance(row.get(field), str):
                raise ConfigError(f"{path}: exemplar {number} has no text field {field!r}; add it")
    return [{"question": row["question"], "solution": row["solution"]} for row in rows]


def _json_lines(path: Path, text: str) -> list[object]:
    rows: list[object] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}: line {number} is not JSON: {error}") from None
        except (ValueError, RecursionError):
            raise ConfigError(
                f"{path}: line {number} has a number of thousands of digits, or is nested too "
                "deeply; correct it"
            ) from None
    return rows


def yaml_value(where: str, text: str) -> object:
    """The value of an option that is given in YAML.

    Args:
        where: the option's name, for the message. The text itself may be a key.
        text: the value.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, *_FAULTS_OF_SCALARS):
        raise ConfigError(f"{where}: the value is not YAML; quote it") from None


def explain_validation(error: ValidationError, where: str) -> str:
    """One line per broken field: its name, the rule, the value."""
    lines = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "configuration"
        rule = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        if item["type"] == "missing":
            lines.append(f"{where}: {field} is required; add it")
        elif item["type"] == "extra_forbidden":
            lines.append(f"{where}: {field} is not a known field; check its spelling")
        elif item["type"] == "value_error":
            lines.append(f"{where}: {field}.{rule}" if item["loc"] else f"{where}: {rule}")
        else:
            got = _shown(item["loc"], item["type"], item["input"])
            lines.append(f"{where}: {field} {rule}, got {got}")
    return "\n".join(lines)


def _shown(place: tuple[int | str, ...], fault: str, value: object) -> str:
    """A value that breaks a rule; only its type if it may hold credentials.

    Sections and lists may, and so may text in the place of one, or anything in a free mapping.
    """
    is_free = any(part in _FREE_MAPPINGS for part in place)
    is_text_for_section = isinstance(value, str) and fault.endswith("_type")
    if is_free or is_text_for_section or isinstance(value, dict | list):
        return f"{type(value).__name__} (not shown)"
    return repr(clean(value))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; see configs/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    tree = _yaml(path, text)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must be a mapping of settings, got {type(tree).__name__}")
    return tree


def _yaml(path: Path, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {_yaml_fault(error)}; fix the file") from None
    except _FAULTS_OF_SCALARS as error:
        raise ConfigError(
            f"{path}: is not YAML: a number, a date or the nesting cannot be read "
            f"({type(error).__name__}: {first_line(error)[:100]}); write text in quotes"
        ) from None


def _yaml_fault(error: yaml.YAMLError) -> str:
    """What is wrong, and where; not the line itself, which may hold a key."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "; ".join(str(error).splitlines()[:1])
    mark = error.problem_mark
    return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"


def _override(tree: dict[str, Any], item: str) -> None:
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set must be section.field=value, got {key.partition(':')[0]!r}")
    *sections, field = key.strip().split(".")
    value = yaml_value(f"--set {key}", text)
    for section in sections:
        child = tree.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {key}: {section} is not a section of settings")
        tree = child
    tree[field] = value
