"""The live pages: behind a token, for this machine alone, read-only, and as the lake is now."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from deltalake import write_deltalake
from starlette.testclient import TestClient

from jobs.show.pages.serve import HOST, LivePages, application
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from schemas import CHECKS, TABLES
from tests import factories
from tests.lake_fixture import run_rows, write_lake

TOKEN = "the-token"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"))


def client(lake: Path, *runs: str, host: str = HOST) -> TestClient:
    pages = LivePages(LakeReader(Location(str(lake))), runs, num_samples=100, seed=0)
    return TestClient(application(pages, TOKEN), base_url=f"http://{host}")


def test_pages_are_there_with_the_token_and_not_kept_by_the_browser(lake: Path) -> None:
    with client(lake, "first", "second") as asked:
        for page in ("", "index.html", "samples-second.html"):
            answer = asked.get(f"/{TOKEN}/{page}")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", HOST, 404),
        ("GET", "/index.html", HOST, 404),
        ("GET", "/the-toke/index.html", HOST, 404),
        ("GET", f"/{TOKEN}/../../etc/passwd", HOST, 404),
        ("GET", f"/{TOKEN}/config.json", HOST, 404),
        ("POST", f"/{TOKEN}/index.html", HOST, 405),
        ("DELETE", f"/{TOKEN}/index.html", HOST, 405),
        ("GET", f"/{TOKEN}/index.html", "evil.example", 400),
    ],
)
def test_anything_else_is_refused(
    lake: Path, method: str, path: str, host: str, status: int
) -> None:
    with client(lake, "first", host=host) as asked:
        answer = asked.request(method, path)
    assert answer.status_code == status
    assert "restem" not in answer.text


def test_a_page_shows_what_the_lake_has_now(tmp_path: Path) -> None:
    lake = write_lake(tmp_path)
    with client(lake, "first") as asked:
        assert "a new rule" not in asked.get(f"/{TOKEN}/").text
        row = {"run_id": "first", "rule": "a new rule", "passed": False}
        write_deltalake(
            lake / "checks",
            factories.arrow(CHECKS, row),
            partition_by=list(CHECKS.partition_by),
            mode="append",
        )
        assert "a new rule" in asked.get(f"/{TOKEN}/").text


def test_a_run_that_has_only_begun_can_be_browsed(tmp_path: Path) -> None:
    rows = run_rows("first")
    for table in TABLES:
        if table.name in ("runs", "problems"):
            arrow = factories.arrow(table, *rows[table.name])
            write_deltalake(tmp_path / table.name, arrow, partition_by=list(table.partition_by))
    with client(tmp_path, "first") as asked:
        text = asked.get(f"/{TOKEN}/").text
        assert re.search(r"0 of \d+ stages sealed; next: ingest, iteration 0\.", text)
        assert "No policy is evaluated yet." in text
        assert "All 0 samples of the run." in asked.get(f"/{TOKEN}/samples-first.html").text


def test_a_lake_that_goes_away_is_one_line(tmp_path: Path) -> None:
    with client(tmp_path / "none", "first") as asked:
        answer = asked.get(f"/{TOKEN}/")
    assert answer.status_code == 503
    assert answer.text.startswith("restem: no lake at")


def test_the_command_prints_an_address_that_answers_until_it_is_interrupted(lake: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "browse", "--lake", str(lake)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"Report on second" in answer.read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address.rsplit("/", 2)[0] + "/guess/", timeout=60)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=30)[1]
    finally:
        process.kill()
