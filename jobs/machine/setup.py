"""Prepare what all runs share: `python -m jobs.machine.setup`. What is there is left as it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from jobs.machine.delta_jars import resolve_delta_jars
from jobs.machine.java import java_home
from pipelines.checkpoints.embedded_model import embedded_checkpoint
from pipelines.errors import RestEMError
from pipelines.runtime.cache import cache_folder


def main() -> int:
    """Prepare Java, Delta's jars and the embedded model; returns the process's exit code."""
    try:
        _prepare("java for Spark", java_home)
        _prepare("Delta's jars", lambda: resolve_delta_jars(cache_folder() / "setup.log"))
        _prepare("embedded model", embedded_checkpoint)
    except RestEMError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _prepare(name: str, make: Callable[[], object]) -> None:
    start = time.monotonic()
    result = make()
    seconds = time.monotonic() - start
    print(f"{name}: {result}" + (f" ({seconds:.0f} s)" if seconds >= 1 else ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
