"""moto's S3 server on this machine, for tests.

It runs in a process of its own, since delta-rs holds Python's lock while it waits for a response.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import free_port, wait_for

REGION = "us-east-1"
KEY, SECRET = "test-key", "test-secret"
BUCKET = "lake-bucket"


@contextmanager
def s3_lake() -> Iterator[dict[str, Any]]:
    """The `lake` section of a configuration whose tables are in a bucket of their own."""
    port = free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "moto_server"), "--host", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        wait_for(port, server)
        # A plain PUT creates a bucket; moto asks for no signature.
        create = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(create, timeout=30):
            yield {"uri": f"s3://{BUCKET}/lake", "storage_options": storage_options(endpoint)}
    finally:
        server.kill()
        server.wait(timeout=30)


def storage_options(endpoint: str) -> dict[str, str]:
    """delta-rs's options for the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def spark_conf(endpoint: str, jars: str) -> dict[str, str]:
    """Spark's settings for the server, with the jars of its connector."""
    return {
        "spark.jars": jars,
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": REGION,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.access.key": KEY,
        "spark.hadoop.fs.s3a.secret.key": SECRET,
    }
