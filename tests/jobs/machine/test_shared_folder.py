"""A lake in a folder needs a folder that all nodes see."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.machine.sessions import ray_session
from jobs.machine.shared_folder import require_shared
from pipelines.config import RayConfig
from pipelines.errors import MachineError
from tests.ports import free_port, wait_for

pytestmark = pytest.mark.slow

RAY = Path(sys.executable).parent / "ray"
ROOT = Path(__file__).resolve().parents[3]


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    return tried.returncode == 0


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[str]:
    """A cluster of two nodes, of which the second has a `private` folder of its own."""
    (tmp_path / "private").mkdir()
    port = free_port()
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    options = [
        "--num-cpus=1",
        "--object-store-memory=100000000",
        "--block",
        "--disable-usage-stats",
    ]
    head = [str(RAY), "start", "--head", f"--port={port}", "--include-dashboard=false", *options]
    join = " ".join([str(RAY), "start", f"--address=127.0.0.1:{port}", *options])
    hidden = f"mount -t tmpfs none {tmp_path / 'private'} && exec {join}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    nodes = [subprocess.Popen([*head, "--node-ip-address=127.0.0.1"], env=environment, **quiet)]  # type: ignore[call-overload]
    try:
        wait_for(port, nodes[0])
        nodes.append(
            subprocess.Popen(["unshare", "-m", "sh", "-c", hidden], env=environment, **quiet)  # type: ignore[call-overload]
        )
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(timeout=60)


@pytest.mark.skipif(not may_mount(), reason="this user may not mount")
def test_a_node_that_does_not_see_the_folder_is_named(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    with ray_session(RayConfig(address=two_nodes)):
        import time

        import ray

        deadline = time.monotonic() + 60
        while len(ray.nodes()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        require_shared(shared)
        with pytest.raises(MachineError, match=r"lake\.uri: .*private must be seen by every node"):
            require_shared(private)
    assert list(shared.iterdir()) == list(private.iterdir()) == []
