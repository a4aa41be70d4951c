"""Delta's jars for Spark: downloaded once, at set-up, so that runs need no network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from jobs.machine.java import java_home
from pipelines.errors import MachineError
from pipelines.runtime.cache import atomic_folder, cache_folder

DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
"""Delta for Spark 4.2.0; both versions are pinned in requirements/."""
_SPARKS_OWN = ("com.*:*", "commons-*:*", "io.airlift:*", "javax.*:*", "org.*:*")
"""Dependencies of Delta that Spark has in newer versions, which the older ones would shadow."""


def jars_folder() -> Path:
    """The folder of Delta's jars in the cache."""
    return cache_folder() / DELTA.split(":", 1)[1].replace(":", "-")


def delta_jars() -> list[Path]:
    """Delta's jars.

    Raises:
        MachineError: they were not downloaded yet.
    """
    found = sorted(jars_folder().glob("*.jar"))
    if not found:
        raise MachineError(
            f"Spark: Delta's jars ({DELTA}) are not in {jars_folder()}; run 'make setup' once, "
            "with a network"
        )
    return found


def resolve_delta_jars(log_file: Path) -> Path:
    """The folder of Delta's jars; downloads them with Spark's own resolver if it is missing.

    Raises:
        MachineError: they cannot be downloaded, most likely for lack of a network.
    """
    folder = jars_folder()
    if folder.is_dir():
        return folder
    with atomic_folder(folder) as temporary:
        resolved = temporary / "resolved"
        _resolve(resolved, log_file)
        for jar in sorted((resolved / "jars").glob("*.jar")):
            jar.rename(temporary / jar.name)
        shutil.rmtree(resolved)
        if not any(temporary.glob("io.delta_*.jar")):
            raise MachineError(f"Spark: cannot get {DELTA}; needs a network once; see {log_file}")
    return folder


def _resolve(folder: Path, log_file: Path) -> None:
    from pyspark.find_spark_home import _find_spark_home

    # spark-submit resolves packages before it starts a program, so any class will do as program. It
    # prefers the Maven repository in the home folder, and fails if that has a jar's description but
    # not the jar; so it is given an empty home folder.
    options = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} -Duser.home={folder}"
    command = [
        f"{_find_spark_home()}/bin/spark-submit",
        *("--master", "local[1]", "--packages", DELTA, "--conf", f"spark.jars.ivy={folder}"),
        *("--exclude-packages", ",".join(_SPARKS_OWN)),
        *("--class", "java.lang.Object", "spark-internal"),
    ]
    environment = {
        **os.environ,
        "JAVA_HOME": str(java_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": options.strip(),
    }
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        subprocess.run(command, stdout=log, stderr=log, env=environment, check=False)
