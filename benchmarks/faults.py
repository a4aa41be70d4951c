"""Faults at random moments of real runs: what is lost, what is done again, what is left behind.

    python -m benchmarks.faults [--faults N | --hours H] [--only KIND] [--seed S] [--folder FOLDER]

Starts runs of a tiny model as processes of their own, kills, stops or starves them at seeded random
moments, and gives the same command again until the run is complete. Its tables are then compared with
what was committed before each fault and with those of an undisturbed run. FOLDER keeps the results of
several calls, which continue one another; the table is of all of them. The exit code is 1 if a row was
lost, doubled or changed, more was done again than is promised, or a run did not come to its end.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.disturbed_run import S3_JARS, DisturbedRun, Reference, Settings
from benchmarks.fault_kinds import FOLDER, KINDS, STORE, Kind
from benchmarks.fault_places import enter_private_mounts
from benchmarks.fault_records import BY_HAND, Record, append, read, show
from pipelines.runtime.hardware import memory_gib, processor
from pipelines.runtime.version import code_version
from tests.tiny_model import build_tiny_model

_IN_SMALL_PLACES = ("lake full", "output full", "temporary files full")


def main() -> None:
    """Do the faults and print the table."""
    parsed = _arguments()
    private = enter_private_mounts(sys.argv[1:])
    machine = processor()
    print(f"{machine.name}, {machine.cores} cores, {memory_gib():.0f} GiB; restem {code_version()}")
    print(f"seed {parsed.seed}, {parsed.settle:g} s for processes to end, in {parsed.folder}")
    parsed.folder.mkdir(parents=True, exist_ok=True)
    model = parsed.folder / "model"
    if not model.exists():
        build_tiny_model(model)
    settings = Settings(
        seed=parsed.seed,
        private=private,
        settle=parsed.settle,
        patience=parsed.patience,
        stop=parsed.stop_seconds,
        outage=parsed.outage,
        printed=parsed.folder / "printed",
    )
    settings.printed.mkdir(exist_ok=True)
    file = parsed.folder / "faults.jsonl"
    records = _do(_kinds(parsed.only, private=private), settings, model, parsed, file)
    print(f"\n{show(records)}")
    sys.exit(not all(one.survived or _is_refused_by_design(one) for one in records))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=3, help="number of faults, about")
    parser.add_argument("--hours", type=float, help="begin runs for so long; replaces --faults")
    parser.add_argument("--only", action="append", choices=list(KINDS), help="kind of faults")
    parser.add_argument("--faults-per-run", type=int, default=3, help="most faults in one run")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "restem-faults"
    )
    parser.add_argument("--settle", type=float, default=30.0, help="seconds for processes to end")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds until a run hangs")
    parser.add_argument("--stop-seconds", type=float, default=20.0, help="of a stopped run")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds of a store's outage")
    return parser.parse_args()


def _kinds(only: Sequence[str] | None, *, private: bool) -> list[Kind]:
    """The kinds of faults that can be done here; those that cannot are named."""
    kinds = [KINDS[name] for name in only or KINDS]
    missing: dict[str, str] = {}
    if not private:
        missing |= dict.fromkeys(_IN_SMALL_PLACES, "no file system can be mounted here")
    if S3_JARS not in os.environ:
        stores = (kind.name for kind in KINDS.values() if kind.lake == STORE)
        missing |= dict.fromkeys(stores, f"{S3_JARS} does not name Spark's S3 connector")
    for kind in kinds:
        if kind.name in missing:
            print(f"{kind.name}: not tried, {missing[kind.name]}")
    return [kind for kind in kinds if kind.name not in missing]


def _do(
    kinds: Sequence[Kind],
    settings: Settings,
    model: Path,
    parsed: argparse.Namespace,
    file: Path,
) -> list[Record]:
    """Disturb runs until there are enough faults, or the time is over; all records in the file."""
    began, number, done = time.monotonic(), 0, 0
    first = 1 + max((one.run for one in read(file) if one.seed == settings.seed), default=-1)
    for number, group in enumerate(grouped(kinds, settings.seed, parsed.faults_per_run)):
        if number < first:
            continue
        hours = (time.monotonic() - began) / 3600
        if done >= parsed.faults if parsed.hours is None else hours >= parsed.hours:
            break
        if parsed.hours is None:
            group = group[: parsed.faults - done]
        reference = _reference(parsed.folder, settings, model, group[0].num_workers)
        with DisturbedRun(model, settings, number, group[0].lake, group[0].num_workers) as run:
            for record in run.disturb(group, reference):
                append(file, [record])
                _tell(record)
                done += 1
    return read(file)


def grouped(kinds: Sequence[Kind], seed: int, per_run: int) -> Iterator[list[Kind]]:
    """Groups of faults, each for one run, without end: every kind comes equally often.

    Args:
        kinds: of faults; those of a group can be done to the same run.
        seed: decides the order.
        per_run: the most of a group.
    """
    chance = random.Random(seed)
    while True:
        groups = []
        for place in sorted({(kind.lake, kind.num_workers) for kind in kinds}):
            alike = [kind for kind in kinds if (kind.lake, kind.num_workers) == place]
            chance.shuffle(alike)
            alike = (alike * per_run)[: max(per_run, len(alike))]
            size = math.ceil(len(alike) / math.ceil(len(alike) / per_run))
            groups += [alike[i : i + size] for i in range(0, len(alike), size)]
        chance.shuffle(groups)
        yield from groups


def _reference(folder: Path, settings: Settings, model: Path, num_workers: int) -> Reference:
    """The undisturbed run of this code, made once per folder and number of workers."""
    file = folder / f"undisturbed-{code_version()}-{num_workers}.json".replace(" ", "-")
    if not file.exists():
        with DisturbedRun(model, settings, 0, FOLDER, num_workers) as run:
            made = run.undisturbed()
        file.write_text(made.to_json(), encoding="utf-8")
        print(f"undisturbed: {made.timeline.seconds:.0f} s; left behind: {made.left or 'nothing'}")
    return Reference.from_json(file.read_text(encoding="utf-8"))


def _tell(record: Record) -> None:
    seconds = "" if record.seconds is None else f" after {record.seconds:.0f} s"
    print(
        f"run {record.run}, {record.moment}: {record.kind} ({record.did}): {record.outcome}{seconds}; "
        f"{record.damage} rows damaged, {record.prompts_again} prompts and {record.epochs_again:.1f} "
        f"epochs again, {len(record.left)} left{'; ' if record.said else ''}{record.said}",
        flush=True,
    )


def _is_refused_by_design(record: Record) -> bool:
    """Whether a message was followed, and the run came to its right end."""
    return record.outcome == BY_HAND and record.is_as_promised


if __name__ == "__main__":
    main()
