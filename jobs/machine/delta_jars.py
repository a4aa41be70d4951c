"""Delta's jars for Spark: resolved once, at set-up, so that runs need no network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipelines.errors import MachineError
from pipelines.runtime.cache import cache_folder, made_at_once

DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"
"""Spark 4.2.0's Delta; both versions are pinned in requirements/."""
_SPARKS_OWN = ("com.*:*", "commons-*:*", "io.airlift:*", "javax.*:*", "org.*:*")
"""What Delta needs and Spark brings, in newer versions: older ones would shadow them."""


def jars_folder() -> Path:
    """Where Delta's jars are kept."""
    return cache_folder() / DELTA.split(":", 1)[1].replace(":", "-")


def delta_jars() -> list[Path]:
    """Delta's jars.

    Raises:
        MachineError: they were not resolved yet.
    """
    found = sorted(jars_folder().glob("*.jar"))
    if not found:
        raise MachineError(
            f"Spark: Delta's jars ({DELTA}) are not in {jars_folder()}; run 'make setup' once, "
            "with a network"
        )
    return found


def resolve_delta_jars(log_file: Path) -> Path:
    """Fetch the jars with Spark's own resolver, if they are not there yet.

    Raises:
        MachineError: they cannot be had: no network, most often.
    """
    folder = jars_folder()
    if folder.is_dir():
        return folder
    with made_at_once(folder) as filling:
        resolved = filling / "resolved"
        _resolve(resolved, log_file)
        for jar in sorted((resolved / "jars").glob("*.jar")):
            jar.rename(filling / jar.name)
        shutil.rmtree(resolved)
        if not any(filling.glob("io.delta_*.jar")):
            raise MachineError(f"Spark: cannot get {DELTA}; needs a network once; see {log_file}")
    return folder


def _resolve(folder: Path, log_file: Path) -> None:
    import subprocess

    from pyspark.find_spark_home import _find_spark_home

    from jobs.machine.java import java_home

    # The resolver runs before the program, which may as well be none. It believes a Maven
    # repository in the home folder before any other, also one where a jar's description lies
    # without the jar; so it is given an empty home.
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
