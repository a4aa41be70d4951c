"""Seconds per stage of a quickstart run, and the share of overhead.

    python -m benchmarks.quickstart_profile [CONFIG] [--seeds 0 1 2]

Runs the configuration once per seed in a new lake, through the same command that a user types, and
prints the seconds that `stages` has for each stage. Overhead is the wall time outside `generate` and
`improve`: process and session starts, Spark's stages, checks, commits, tracking, the report.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import descendants, private_bytes
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.placement.nvidia import number_format, nvidia_report
from pipelines.runtime.hardware import memory_gib, processor
from pipelines.runtime.version import code_version

_WORK = ("generate", "improve")


@dataclass(frozen=True)
class Profile:
    """Measurements of one run."""

    seed: int
    wall: float
    """Seconds."""
    peak_gib: float
    """Peak memory of all the run's processes."""
    seconds: dict[str, float]
    """By stage, over all iterations."""
    greedy: list[float]
    """Greedy accuracy on the test split by iteration."""
    tokens_per_second: list[float]
    """Output tokens of generate by iteration."""

    @property
    def overhead(self) -> float:
        """Share of the wall time outside generate and improve."""
        return 1 - sum(self.seconds.get(stage, 0.0) for stage in _WORK) / self.wall


def main() -> None:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="configs/quickstart.yaml")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parsed = parser.parse_args()
    machine = processor()
    dtype = number_format("auto", nvidia_report().gpus)
    print(f"{machine.name}, {machine.cores} cores, {memory_gib():.0f} GiB, {dtype}")
    print(f"restem {code_version()}, {parsed.config}")
    for seed in parsed.seeds:
        show(profile(Path(parsed.config), seed))


def profile(config: Path, seed: int) -> Profile:
    """Measure one run in a folder of its own, which is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="restem-profile-"))
    name = f"profile-{seed}"
    settings = {
        "seed": seed,
        "output": folder,
        "lake.uri": folder / "lake",
        "mlflow.tracking_uri": f"sqlite:///{folder}/mlflow.db",
    }
    command = [sys.executable, "-m", "jobs", "run", str(config), "--name", name]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    try:
        started = time.monotonic()
        process = subprocess.Popen(command, start_new_session=True)
        peak = _peak_memory(process)
        wall = time.monotonic() - started
        if process.returncode:
            raise SystemExit(process.returncode)
        return _profile(LakeReader(Location(str(folder / "lake"))), seed, wall, peak)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _profile(reader: LakeReader, seed: int, wall: float, peak: float) -> Profile:
    stages = reader.arrow("stages").to_pylist()
    seconds: dict[str, float] = {}
    for row in stages:
        seconds[row["stage"]] = seconds.get(row["stage"], 0.0) + row["seconds"]
    speeds = [
        json.loads(row["measures"]).get("tokens_per_second", 0.0)
        for row in sorted(stages, key=lambda row: row["iteration"])
        if row["stage"] == "generate"
    ]
    evaluations = reader.rows(
        "SELECT value FROM evaluations WHERE suite = 'test' AND metric = 'greedy_accuracy' "
        "ORDER BY iteration"
    )
    return Profile(seed, wall, peak, seconds, [row["value"] for row in evaluations], speeds)


def _peak_memory(process: subprocess.Popen[bytes]) -> float:
    """The maximum resident, unshared memory of all the run's processes together, in GiB."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(private_bytes(pid) for pid in descendants(process.pid)))
        time.sleep(1.0)
    return peak / 2**30


def show(measured: Profile) -> None:
    """Print one run's profile."""
    print(f"\nseed {measured.seed}: {measured.wall:.0f} s, peak {measured.peak_gib:.1f} GiB")
    print("  test greedy by iteration: " + " ".join(f"{100 * x:.1f} %" for x in measured.greedy))
    print("  output tokens/s: " + " ".join(f"{x:.0f}" for x in measured.tokens_per_second))
    for stage, seconds in sorted(measured.seconds.items(), key=lambda item: -item[1]):
        print(f"  {stage:<14}{seconds:8.1f} s  {seconds / measured.wall:6.1%}")
    rest = measured.wall - sum(measured.seconds.values())
    print(f"  {'(between)':<14}{rest:8.1f} s  {rest / measured.wall:6.1%}")
    print(f"  overhead (all but generate and improve): {measured.overhead:.1%}")


if __name__ == "__main__":
    main()
