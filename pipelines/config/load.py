"""Read a run's configuration from its file, with `--set` and the prompts' files applied."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from pipelines.config import RunConfig
from pipelines.config.problems import names_a_file
from pipelines.config.secret import clean, revealed
from pipelines.errors import ConfigError, first_line
from pipelines.runtime.plain_text import unstorable

METHODS = Path(__file__).parents[2] / "configs" / "methods"
"""Folder of the methods' settings, a file each."""
_PROMPT_NOTES = ("source", "licence", "note")
"""Fields of a prompt's file that say where it comes from; not settings."""
_FAULTS_OF_SCALARS = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What PyYAML raises for a tagged or resolved scalar that it then cannot convert."""
_FREE_MAPPINGS = ("conf", "extra", "options", "storage_options")
"""Fields whose values are arguments of a library or a function."""


def load_config(
    path: Path,
    name: str | None = None,
    overrides: tuple[str, ...] = (),
    method: str | None = None,
) -> RunConfig:
    """Read a configuration file.

    The prompts' files are read too, and their texts take the place of the files' names: the texts
    decide the rows, so the texts are what a run is pinned to. Files that are named by a relative path
    are looked for in the folder of the file that names them; for a source, of the configuration.

    Args:
        path: YAML file.
        name: replaces the run name in the file.
        overrides: `section.field=value` items, the value in YAML.
        method: name of a method, whose settings replace those in the file; the run's name gets it
            as an ending.

    Raises:
        ConfigError: a file is missing or is not YAML, or a field breaks its rule.
    """
    tree = _read_yaml(path)
    if method is not None:
        tree = _with_method(tree, method)
        tree["name"] = f"{tree.get('name', path.stem)}-{method}"
    for item in overrides:
        _override(tree, item)
    if name is not None:
        tree["name"] = name
    tree.setdefault("name", path.stem)
    _locate_sources(tree, path.parent)
    return _read(tree, path.parent, str(path), overrides)


def changed_config(config: RunConfig, name: str, overrides: tuple[str, ...]) -> RunConfig:
    """A stored configuration under another name, with some settings changed.

    Args:
        config: of a run in a lake.
        name: the other run's.
        overrides: as for `load_config`; files are looked for in the current folder.

    Raises:
        ConfigError: a file is missing, or a field breaks its rule.
    """
    tree = config.stored()
    tree["lake"]["storage_options"] = revealed(config.lake.storage_options)
    for item in overrides:
        _override(tree, item)
    tree["name"] = name
    if changes_sources(overrides):
        _locate_sources(tree, Path())
    return _read(tree, Path(), f"run {config.name}", overrides)


def changes_sources(overrides: Sequence[str]) -> bool:
    """Whether changed settings may name other sources."""
    fields = ("problems=", "problems.sources", "evaluation=", "evaluation.suites")
    return any(item.startswith(fields) for item in overrides)


def _read(tree: dict[str, Any], folder: Path, where: str, overrides: Sequence[str]) -> RunConfig:
    """The settings of a tree, with the texts of the prompts' files, as a RunConfig."""
    for section in [tree, *_suites(tree)]:
        if isinstance(section, dict) and isinstance(section.get("prompt"), dict):
            section["prompt"] = _with_texts(section["prompt"], folder)
    return _validated(tree, where, [item.partition("=")[0].strip() for item in overrides])


def _locate_sources(tree: dict[str, Any], folder: Path) -> None:
    """Make the locations of the files of all sources absolute."""
    problems = tree.get("problems")
    _locate(problems.get("sources") if isinstance(problems, dict) else None, folder)
    _locate([suite.get("source") for suite in _suites(tree) if isinstance(suite, dict)], folder)


def _suites(tree: dict[str, Any]) -> list[Any]:
    """The suites' settings; what is of the wrong type is left to the validation, which names it."""
    evaluation = tree.get("evaluation")
    suites = evaluation.get("suites") if isinstance(evaluation, dict) else None
    return suites if isinstance(suites, list) else []


def _with_method(tree: dict[str, Any], method: str) -> dict[str, Any]:
    """The settings with those of a method in their place."""
    known = sorted(path.stem for path in METHODS.glob("*.yaml"))
    if method not in known:
        close = difflib.get_close_matches(method, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"--method must be one of {', '.join(known)}, got {method!r}{hint}")
    return _merged(tree, _read_yaml(METHODS / f"{method}.yaml")) | {"method": method}


def _merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with others in their place, section by section."""
    merged = dict(tree)
    for name, value in changes.items():
        there = merged.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            merged[name] = _merged(there, value)
        else:
            merged[name] = value
    return merged


def _validated(tree: dict[str, Any], where: str, overrides: Sequence[str]) -> RunConfig:
    """The settings as a RunConfig that can be stored."""
    try:
        text = unstorable(tree)
        if text is not None:
            raise ConfigError(
                f"{where}: {text} has half of a surrogate pair, which no text file can hold; "
                "correct it"
            )
        config = RunConfig.model_validate(tree)
        config.stored()  # settings that cannot be stored must stop here, not at the first commit
    except ValidationError as error:
        raise ConfigError(explain_validation(error, where, overrides)) from None
    except (RecursionError, PydanticSerializationError, ValueError):
        raise ConfigError(
            f"{where}: settings are nested too deeply, or hold themselves; write them out"
        ) from None
    return config


def _locate(sources: object, folder: Path) -> None:
    """Make the locations of files absolute, from the configuration's folder."""
    for source in sources if isinstance(sources, list) else []:
        location = source.get("location") if isinstance(source, dict) else None
        if not isinstance(location, str) or not location:
            continue
        is_file = names_a_file(source.get("kind"), location)
        is_elsewhere = "://" in location or location.startswith(("${", "~", "/"))
        is_code = source.get("kind") in ("generator", "reasoning_gym")
        if not is_elsewhere and not is_code and (is_file or (folder / location).exists()):
            source["location"] = str((folder / location).resolve())


def _with_texts(prompt: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A prompt's settings, `file` and `exemplars_file` replaced by what the files hold."""
    settings = _with_exemplars(prompt, folder)
    file = settings.pop("file", None)
    if file is None:
        return settings
    path = folder / _path("prompt.file", file)
    in_file = {key: value for key, value in _read_yaml(path).items() if key not in _PROMPT_NOTES}
    return _with_exemplars(in_file, path.parent) | settings


def _with_exemplars(prompt: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A prompt's settings, `exemplars_file` replaced by what it holds."""
    settings = dict(prompt)
    exemplars_file = settings.pop("exemplars_file", None)
    inline = settings.get("exemplars")
    if exemplars_file is not None:
        if inline is not None:
            raise ConfigError(
                "prompt: exemplars and exemplars_file must not both be set, got "
                f"{len(inline) if isinstance(inline, list) else 1} exemplars beside "
                f"{exemplars_file!r}; remove one of them"
            )
        settings["exemplars"] = read_exemplars(
            folder / _path("prompt.exemplars_file", exemplars_file)
        )
    elif isinstance(inline, list):
        settings["exemplars"] = _checked_exemplars(inline, "prompt.exemplars")
    return settings


def _path(field: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{field} must be the path of a file, got {value!r}; correct it")
    return value


def read_exemplars(path: Path) -> list[dict[str, str]]:
    """Few-shot exemplars from a YAML or JSONL file of `question` and `solution`.

    Raises:
        ConfigError: the file is missing, or an exemplar lacks a field or has one that is not text.
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
    return _checked_exemplars(rows, str(path))


def _checked_exemplars(rows: list[Any], where: str) -> list[dict[str, str]]:
    for number, row in enumerate(rows, 1):
        for field in ("question", "solution"):
            if not isinstance(row, dict) or field not in row:
                raise ConfigError(f"{where}: exemplar {number} has no field {field!r}; add it")
            if not isinstance(row[field], str):
                raise ConfigError(
                    f"{where}: exemplar {number}: {field} must be text, got {row[field]!r}; put it "
                    "in quotes"
                )
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


def explain_validation(
    error: ValidationError,
    where: str,
    overrides: Sequence[str] = (),
    model: type[BaseModel] = RunConfig,
) -> str:
    """One line per broken field: its name, the rule, the value.

    Args:
        error: pydantic's.
        where: the file.
        overrides: fields that `--set` changed: an error in one of them is not the file's.
        model: what was validated.
    """
    return "\n".join(_explain(item, where, overrides, model) for item in error.errors())


def _explain(
    item: ErrorDetails, where: str, overrides: Sequence[str], model: type[BaseModel]
) -> str:
    field = ".".join(str(part) for part in item["loc"]) or "configuration"
    is_overridden = any(f"{field}.".startswith(f"{name}.") for name in overrides)
    name = f"--set {field}" if is_overridden else f"{where}: {field}"
    rule = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if item["type"] == "missing":
        return f"{name} is required; add it"
    if item["type"] == "extra_forbidden":
        return f"{name} is not a known field; {_meant(item['loc'], model)}"
    if item["type"] == "value_error":
        return f"{name}.{rule}" if item["loc"] else f"{where}: {rule}"
    return f"{name} {rule}, got {_shown(item['loc'], item['type'], item['input'])}"


def _meant(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """The known field that an unknown one was probably meant to be, or all there are."""
    *sections, unknown = (part for part in loc if isinstance(part, str))
    for section in sections:
        model = _model_in(model.model_fields[section].annotation) or model
    close = difflib.get_close_matches(unknown, model.model_fields, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"{sections[-1] if sections else 'a run'} has {', '.join(model.model_fields)}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The section that a field's type holds, such as that of `tuple[SuiteConfig, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


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
        return yaml.load(text, _UniqueKeys)
    except _RepeatedKeyError as error:
        raise ConfigError(f"{path}: {error}") from None
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


class _RepeatedKeyError(Exception):
    """A mapping has a key twice; YAML would silently take the last."""


class _UniqueKeys(yaml.SafeLoader):
    """Reads plain YAML, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See yaml.SafeLoader."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                first, line = lines.get(key.value), key.start_mark.line + 1
                lines[key.value] = line
                if first is not None:
                    raise _RepeatedKeyError(
                        f"line {line}: {key.value!r} is there twice, first in line {first}; keep one"
                    )
        return super().construct_mapping(node, deep)


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
