"""One start of a run in a process of its own: `python -m tests.pipelines.lake.start_a_run SETTINGS`.

It draws one sample per chunk, and prints a line at each step, so that a test can time a second start
or a kill.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import RestEMError
from pipelines.lake.lake import open_lake
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import FileWriter, Snapshot, StageContext, StreamStage, WrittenFile
from schemas import SAMPLES
from tests.doubles import FakeEngines, OneRuleGate, QuietListener
from tests.factories import arrow
from tests.pipelines.lake.test_materialize import config


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201


def pausing(wanted: list[str], seconds: float) -> StreamStage:
    """Draws the wanted samples one by one, each in a chunk, `seconds` apart."""

    def draw(
        _: StageContext, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        done = set(committed.arrow(["sample_id"]).column("sample_id").to_pylist())
        for sample_id in [item for item in wanted if item not in done]:
            row = arrow(SAMPLES, {"sample_id": sample_id})
            file = writer.write(row.drop_columns(["run_id", "iteration"]))
            say(f"wrote {sample_id}")
            time.sleep(seconds)
            yield [file]
            say(f"committed {sample_id}")

    return StreamStage(name="generate", table=SAMPLES, function=draw)


def pretend(settings: dict[str, Any]) -> None:
    """Be a machine of another name, with other times, or with a file system without locks."""
    if settings.get("machine"):
        from pipelines.runtime import process

        process.BOOT_ID = Path(settings["machine"])
    if settings.get("no_flock"):
        import fcntl

        def refuse(*_: Any) -> None:
            raise OSError(95, "Operation not supported")

        fcntl.flock = refuse
    if "expiry" in settings:
        from pipelines.lake import lease

        lease.EXPIRY_SECONDS = settings["expiry"]
        lease.OBSERVED_SECONDS = lease.BEAT_SECONDS = settings["expiry"] / 4


def main(settings: dict[str, Any]) -> int:
    pretend(settings)
    run = config(Path(settings["folder"]), **settings.get("changes", {}))
    gate = OneRuleGate({}, "bad")
    try:
        with open_lake(run, FakeEngines(), gate, QuietListener(), SilentProgress()) as lake:
            say("opened")
            time.sleep(settings.get("wait", 0))
            lake.materialize(pausing(settings["wanted"], settings["pause"]), 0)
            say("sealed")
    except RestEMError as error:
        say(f"refused: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
