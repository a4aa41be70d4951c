"""Engine chatter goes to a log file, not to the screen."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2


@contextmanager
def engines_to_log(folder: Path) -> Iterator[None]:
    """While this lasts, Python's log records and warnings go to `driver.log` in the folder.

    What people are to see is said through pipelines.runtime.progress. Handlers that libraries put on the
    screen by themselves are taken off; the file is opened with the first record.
    """
    root = logging.getLogger()
    before = root.handlers[:], root.level
    file = _FileInFolder(folder / "driver.log")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.handlers[:] = [file]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    shown = warnings.showwarning
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        warnings.showwarning = shown
        root.handlers[:], level = before
        root.setLevel(level)
        file.close()


@contextmanager
def stderr_to_log(folder: Path) -> Iterator[None]:
    """While this lasts, what anything writes to the standard error goes to `driver.log`.

    Engines have C++ cores and progress bars that write there past Python's logging. Errors of ours
    are written after this has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    screen = os.dup(_STDERR)
    with (folder / "driver.log").open("ab") as log:
        os.dup2(log.fileno(), _STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, _STDERR)
        os.close(screen)


class _FileInFolder(logging.FileHandler):
    """A log file whose folder is made with its first record: a refused run leaves nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream is None:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        super().emit(record)
