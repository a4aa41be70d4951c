"""An object store that does not answer for a while."""

import json
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from benchmarks.failing_store import FailingStore
from pipelines.lake.location import Location
from tests.pipelines.lake.object_store import s3_lake, storage_options

pytestmark = pytest.mark.slow

OUTAGE_SECONDS = 5.0

READ = """
import json, sys
from pipelines.lake.location import Location
location = Location(**json.loads(sys.argv[1]))
try:
    location.read("x")
except OSError:
    print("gave up", flush=True)
print(location.patient().read("x"))
"""
"""In a process of its own: delta-rs holds Python's lock, without which the proxy cannot work."""


def test_a_run_at_work_waits_for_its_store_and_a_first_look_does_not() -> None:
    with s3_lake() as lake:
        port = int(lake["storage_options"]["AWS_ENDPOINT_URL"].rpartition(":")[2])
        Location(lake["uri"], lake["storage_options"]).write("x", b"there")
        store = FailingStore(port)
        location = Location(lake["uri"], storage_options(f"http://127.0.0.1:{store.port}"))
        command = [sys.executable, "-c", READ, json.dumps(asdict(location))]
        with store.down():
            reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert reader.stdout is not None
            assert reader.stdout.readline() == "gave up\n"
            time.sleep(OUTAGE_SECONDS)
            assert reader.poll() is None
        printed, _ = reader.communicate(timeout=60)
        assert printed == "b'there'\n"
        store.close()


def test_a_folder_and_the_users_own_settings_are_left_alone() -> None:
    assert Location("/lake").patient() == Location("/lake")
    own = Location("s3://b/lake", {"max_retries": "0"})
    assert own.patient().storage_options["max_retries"] == "0"
