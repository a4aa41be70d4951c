"""Set up what runs share: `python -m jobs.machine.setup`. What is there already is left alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from pipelines.errors import RestEMError
from pipelines.runtime.cache import cache_folder


def main() -> int:
    """Prepare Java, Delta's jars and the embedded model; returns the process's exit code."""
    try:
        _do("java for Spark", _java)
        _do("Delta's jars", _jars)
        _do("embedded model", _model)
    except RestEMError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _do(what: str, prepare: Callable[[], object]) -> None:
    start = time.monotonic()
    result = prepare()
    seconds = time.monotonic() - start
    print(f"{what}: {result}" + (f" ({seconds:.0f} s)" if seconds >= 1 else ""), flush=True)


def _java() -> object:
    from jobs.machine.java import java_home

    return java_home()


def _jars() -> object:
    from jobs.machine.delta_jars import resolve_delta_jars

    return resolve_delta_jars(cache_folder() / "setup.log")


def _model() -> object:
    from pipelines.tuning.base_model import embedded_checkpoint

    return embedded_checkpoint()


if __name__ == "__main__":
    sys.exit(main())
