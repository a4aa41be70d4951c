"""Commands to type next: each of them works as it is when it is pasted in the current folder."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pipelines.config import LakeConfig, RunConfig
from pipelines.config.secret import without_credentials
from pipelines.lake.location import Location

_LOCAL_MLFLOW = "http://127.0.0.1:5000"


def restem_command() -> str:
    """This environment's `restem`, as it is typed in the current folder."""
    return _tool("restem")


def lake_arguments(location: Location) -> str:
    """The arguments that name a lake, after a blank; empty if commands find it without them.

    An option of an object store may be a key: it is taken from the environment variable of its name.
    """
    usual = os.environ.get("RESTEM_LAKE") or LakeConfig().uri
    words = [] if location.uri == Location.at(usual, {}).uri else ["--lake", _here(location)]
    quoted = [shlex.quote(word) for word in words]
    quoted += [f'--storage {name}="${name}"' for name in sorted(location.storage_options)]
    return "".join(f" {word}" for word in quoted)


def next_commands(
    config: RunConfig,
    sample_id: str | None = None,
    mlflow_run_id: str | None = None,
    typed: Sequence[str] = (),
) -> list[str]:
    """SQL, the lineage of a sample, MLflow, another run.

    Args:
        config: the run's.
        sample_id: a sample to explain.
        mlflow_run_id: the run's id in the tracker.
        typed: the arguments that `restem run` was given: the configuration's file, its `--set`.
    """
    restem, lake = restem_command(), lake_arguments(Location.of(config.lake))
    run = shlex.quote(config.name)
    query = (
        "SELECT iteration, verdict, count(*) AS samples FROM sample_verdicts "
        "GROUP BY iteration, verdict ORDER BY iteration, samples DESC"
    )
    commands = [f'{restem} sql "{query}" --run {run}{lake}']
    if sample_id is not None:
        commands.append(f"{restem} explain {sample_id} --run {run}{lake}")
    if config.mlflow.enabled:
        uri = without_credentials(config.mlflow.tracking_uri)
        commands.append(_mlflow_command(uri, mlflow_run_id))
    if typed:
        again = shlex.join([*typed, "--name", f"{config.name}-2"])
        commands.append(f"{restem} run {again} --set seed={config.seed + 1}")
    return commands


def _mlflow_command(tracking_uri: str, run_id: str | None) -> str:
    """The command that opens the run's own page: MLflow's start page does not show the run."""
    page = "" if run_id is None else f"/#/runs/{run_id}"
    if tracking_uri.startswith(("http://", "https://")):
        server = urlsplit(tracking_uri.rstrip("/"))
        # Without a user and password: browsers ask for them, and screens are photographed.
        place = urlunsplit(server._replace(netloc=server.netloc.rpartition("@")[2]))
        return f"python3 -m webbrowser -t {shlex.quote(place + page)}"
    opened = f"   # then open {_LOCAL_MLFLOW}{page}"
    return f"{_tool('mlflow')} ui --backend-store-uri {shlex.quote(tracking_uri)}{opened}"


def _tool(name: str) -> str:
    if shutil.which(name):
        return name
    tool = Path(sys.executable).parent / name
    return shlex.quote(str(tool.relative_to(Path.cwd()) if _is_here(tool) else tool))


def _here(location: Location) -> str:
    if location.is_local and _is_here(location.folder):
        return str(location.folder.relative_to(Path.cwd()))
    return location.uri


def _is_here(path: Path) -> bool:
    return path.is_relative_to(Path.cwd())
