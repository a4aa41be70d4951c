"""Send the output of engines to a log file instead of the screen."""

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
    """Write Python's log records and warnings to `driver.log` in the folder.

    Handlers that libraries attach for the screen are removed: users read what is reported through
    pipelines.runtime.progress. The folder and the file are made with the first record.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    file = _FileInFolder(folder / "driver.log", delay=True, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.handlers[:] = [file]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    showwarning = warnings.showwarning
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        warnings.showwarning = showwarning
        root.handlers[:] = handlers
        root.setLevel(level)
        file.close()


@contextmanager
def stderr_to_log(folder: Path) -> Iterator[None]:
    """Write the process's standard error to `driver.log` in the folder.

    The C++ cores and progress bars of engines write there, past Python's logging. A run's own error
    is printed after this has ended.
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
    """A log file whose folder is made with its first record: a refused run leaves no folder."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream is None:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        super().emit(record)
