"""What a source on this machine holds, as a hash: a run is pinned to it instead of to a path.

A folder may be moved, or be written in another way, and a run goes on; a file with other rows is
another configuration.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipelines.config import RunConfig, SourceConfig
from pipelines.datasets.locations import expanded
from pipelines.errors import InputError
from pipelines.lake.external_tables import table_id

_NO_FILES = ("generator", "reasoning_gym")


def content_of(source: SourceConfig) -> str | None:
    """Hash of the source's files; of a Delta table, its id. None if it is not on this machine."""
    if source.kind in _NO_FILES:
        return None
    try:
        path = Path(expanded(source.location, "problems.sources.location")).expanduser()
        if not path.exists():
            return None
        if source.kind == "delta":
            return table_id(str(path))
        return _hash_of_files(path)
    except (InputError, OSError):
        return None  # Reading the source says what is wrong with it.


def with_contents(config: RunConfig, pinned: RunConfig | None) -> RunConfig:
    """The configuration with the content of each source that is on this machine.

    Args:
        config: the run's.
        pinned: the configuration that its name is pinned to, if it is. A source that is no longer
            there keeps the content it had: a run whose problems are in the lake does not need it.
    """
    earlier = {source.location: source for source in _sources(pinned)} if pinned else {}

    def located(source: SourceConfig) -> SourceConfig:
        before = earlier.get(source.location)
        if before is not None and before.content is None:
            return source  # It was pinned to its location.
        content = content_of(source) or (before.content if before else None)
        return source.model_copy(update={"content": content})

    problems = config.problems.model_copy(
        update={"sources": tuple(map(located, config.problems.sources))}
    )
    suites = tuple(
        suite.model_copy(update={"source": located(suite.source)}) if suite.source else suite
        for suite in config.evaluation.suites
    )
    evaluation = config.evaluation.model_copy(update={"suites": suites})
    return config.model_copy(update={"problems": problems, "evaluation": evaluation})


def _sources(config: RunConfig) -> list[SourceConfig]:
    own = [suite.source for suite in config.evaluation.suites if suite.source is not None]
    return [*config.problems.sources, *own]


def _hash_of_files(path: Path) -> str:
    if path.is_file():
        return _hash_of_file(path)
    digest = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\n{_hash_of_file(file)}\n".encode())
    return digest.hexdigest()


def _hash_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
