import socket
from collections import Counter
from itertools import islice

import pytest

from benchmarks.disturbed_run import Trained, epochs_again, trained_in
from benchmarks.failing_store import FailingStore
from benchmarks.fault_kinds import KINDS
from benchmarks.faults import grouped
from benchmarks.run_processes import (
    DRIVER,
    ENGINE,
    RAYLET,
    SCORER,
    TRAINER,
    WORKER,
    RunProcess,
    roles,
)


def test_the_same_seed_gives_the_same_faults_and_every_kind_its_turn() -> None:
    kinds = list(KINDS.values())
    groups = list(islice(grouped(kinds, seed=1, per_run=4), 20))
    assert groups == list(islice(grouped(kinds, seed=1, per_run=4), 20))
    assert groups != list(islice(grouped(kinds, seed=2, per_run=4), 20))
    for group in groups:
        assert len({(kind.lake, kind.num_workers) for kind in group}) == 1
    counts = Counter(kind.name for group in groups for kind in group)
    assert counts.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("ray::MapWorker(MapBatches(ChunkDrawer)).__init__", ENGINE),
        ("ray::_StatsActor", WORKER),
        ("ray::IDLE", WORKER),
        ("/x/ray/core/src/ray/raylet/raylet --a=b", RAYLET),
        ("python -m pipelines.tuning.worker job.json", TRAINER),
        ("python -m pipelines.rewards.workers.worker 3", SCORER),
    ],
)
def test_a_process_is_known_by_its_title(command: str, role: str) -> None:
    found = roles(RunProcess(2, 1, tuple(command.split(" "))))
    assert found & {DRIVER, ENGINE, WORKER, RAYLET, TRAINER, SCORER} == {role}


def test_the_driver_leads_its_session_and_others_may_lead_one_too() -> None:
    assert DRIVER in roles(RunProcess(2, 2, ("python", "-m", "jobs", "run", "tiny.yaml")))
    worker = RunProcess(3, 3, ("python", "-m", "pipelines.rewards.workers.worker"))
    assert DRIVER not in roles(worker)


@pytest.mark.parametrize(
    "title",
    ["ray::DashboardAgent", "python -m pipelines.tuning.torchrun -m pipelines.tuning.worker"],
)
def test_agents_are_not_workers(title: str) -> None:
    assert not roles(RunProcess(2, 1, tuple(title.split(" ")))) & {WORKER, TRAINER}


def test_epochs_that_were_trained_again_are_those_after_the_saved_state() -> None:
    started = '{"event": "started", "examples": 80, "done": 10}'
    stepped = ['{"event": "stepped", "examples": 5}'] * 3
    killed = trained_in([started, *stepped, '{"event": "step'])
    assert killed == Trained(done_before=10, reached=25, per_epoch=10)
    assert epochs_again(killed, Trained(20, 80, 10)) == 0.5
    assert epochs_again(killed, Trained(25, 80, 10)) == 0.0
    assert trained_in([]) is None


def test_a_store_that_is_down_refuses_and_answers_again_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        store = FailingStore(server.getsockname()[1])
        with store.down(), pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", store.port), timeout=5)
        with socket.create_connection(("127.0.0.1", store.port), timeout=5) as client:
            there, _ = server.accept()
            client.sendall(b"asked")
            assert there.recv(16) == b"asked"
            there.sendall(b"answered")
            assert client.recv(16) == b"answered"
            store.close()
            assert client.recv(16) == b""
            there.close()
