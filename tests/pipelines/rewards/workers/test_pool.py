import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import RewardConfig
from pipelines.errors import InputError, StageFailed
from pipelines.rewards.workers.pool import ScoringPool

SAMPLES = "python:tests.pipelines.rewards.sample_rewards"


def obeying(**settings: Any) -> RewardConfig:
    return RewardConfig(function=f"{SAMPLES}:obeys", **settings)


def verdicts(
    config: RewardConfig, solutions: list[str], num_workers: int = 2
) -> list[tuple[str, str | None]]:
    with ScoringPool(config, num_workers) as pool:
        scored = pool.score([(solution, "ok") for solution in solutions])
    return [(given.verdict.verdict, given.verdict.detail) for given in scored]


def codes(config: RewardConfig, solutions: list[str], num_workers: int = 2) -> list[str]:
    return [code for code, _ in verdicts(config, solutions, num_workers)]


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_verdicts_come_in_the_order_of_the_solutions() -> None:
    solutions = ["ok" if number % 3 else f"no {number}" for number in range(500)]
    expected = ["correct" if number % 3 else "wrong" for number in range(500)]
    assert codes(obeying(), solutions) == expected


def test_an_endless_loop_is_a_timeout_and_the_other_pairs_are_scored() -> None:
    solutions = ["ok", "loop", *["ok"] * 3, "no", "loop again", "ok "]
    assert codes(obeying(timeout_seconds=0.5), solutions) == [
        "correct", "timeout", "correct", "correct", "correct", "wrong", "timeout", "wrong",
    ]  # fmt: skip


def test_a_loop_that_holds_the_interpreter_is_killed_within_its_deadline() -> None:
    with ScoringPool(obeying(timeout_seconds=0.5), 1) as pool:
        pool.score([("ok", "ok")])
        start = time.monotonic()
        (given,) = pool.score([("power", "ok")])
        assert time.monotonic() - start < 1.5
    assert given.verdict.verdict == "timeout"
    assert given.verdict.detail == "no verdict within 0.5 s"
    assert 500 <= given.milliseconds < 1_500


def test_a_hanging_worker_does_not_delay_the_other() -> None:
    with ScoringPool(obeying(timeout_seconds=3), 2) as pool:
        pool.score([("ok", "ok"), ("no", "ok")])
        start = time.monotonic()
        scored = pool.score([("loop", "ok"), *((f"sleep {n / 1e6}", "ok") for n in range(200))])
        assert time.monotonic() - start < 5
    assert [given.verdict.verdict for given in scored] == ["timeout", *["correct"] * 200]


def test_a_worker_that_dies_affects_only_the_sample_it_was_scoring() -> None:
    assert verdicts(obeying(), ["ok", "die 3", "ok ", "ok", "no"]) == [
        ("correct", None),
        ("error", "the worker ended with exit code 3"),
        ("wrong", None),
        ("correct", None),
        ("wrong", None),
    ]


def test_a_worker_survives_an_exit_an_exception_and_printing() -> None:
    solutions = ["exit 0", "raise no luck", "print", "return_none", "return_nan", "return_text 1"]
    assert verdicts(obeying(), solutions, num_workers=1) == [
        ("error", "raised SystemExit: 0"),
        ("error", "raised RuntimeError: no luck (sample_rewards.py, line 50)"),
        ("correct", None),
        ("error", "returned None (NoneType); a reward is a bool, a finite number or a Verdict"),
        ("error", "returned nan (float); a reward is a bool, a finite number or a Verdict"),
        ("error", "returned '1' (str); a reward is a bool, a finite number or a Verdict"),
    ]


def test_memory_over_the_limit_has_its_own_verdict() -> None:
    config = obeying(memory_limit_mb=512)
    assert codes(config, [f"allocate {2**31}", f"allocate {2**20}"]) == ["memory", "correct"]


def test_a_worker_killed_from_outside_counts_as_out_of_memory() -> None:
    with ScoringPool(obeying(), 1) as pool:
        (given,) = pool.score([("pid", "ok")])
        pid = int(given.verdict.reward)
        killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        killer.start()
        (given,) = pool.score([("sleep 60", "ok")])
    assert given.verdict.verdict == "memory"


def test_a_worker_that_died_while_idle_affects_no_sample() -> None:
    with ScoringPool(obeying(), 1) as pool:
        (given,) = pool.score([("pid", "ok")])
        pid = int(given.verdict.reward)
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not runs(pid))
        assert [s.verdict.verdict for s in pool.score([("ok", "ok")])] == ["correct"]


def test_the_children_of_a_killed_worker_are_killed(tmp_path: Path) -> None:
    assert codes(obeying(timeout_seconds=1), [f"child {tmp_path / 'pid'}"]) == ["timeout"]
    child = int((tmp_path / "pid").read_text())
    assert eventually(lambda: not runs(child))


def test_equal_solutions_are_scored_once() -> None:
    with ScoringPool(obeying(), 1) as pool:
        start = time.monotonic()
        scored = pool.score([("sleep 0.2", "ok")] * 50)
        assert time.monotonic() - start < 5
    assert len({given.milliseconds for given in scored}) == 1


def test_a_workers_verdict_is_cached_for_later_calls() -> None:
    with ScoringPool(obeying(timeout_seconds=0.3), 1) as pool:
        first = pool.score([("ok", "ok"), ("loop", "ok")])
        again = pool.score([("loop", "ok"), ("ok", "ok"), ("ok", "no")])
        assert (pool.num_distinct_pairs, pool.num_scored_by_worker) == (5, 3)
    assert again[:2] == first[::-1]
    assert [given.verdict.verdict for given in again] == ["timeout", "correct", "wrong"]


def test_an_error_is_not_cached() -> None:
    with ScoringPool(obeying(), 1) as pool:
        pool.score([("die 3", "ok")])
        (given,) = pool.score([("die 3", "ok")])
        assert pool.num_scored_by_worker == 2
    assert given.verdict.verdict == "error"


def test_closing_the_pool_ends_its_workers() -> None:
    with ScoringPool(obeying(), 1) as pool:
        (given,) = pool.score([("pid", "ok")])
        pid = int(given.verdict.reward)
        assert runs(pid)
    assert eventually(lambda: not runs(pid))


def test_a_pool_works_in_a_thread() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(codes(obeying(), ["ok", "no"])))
    thread.start()
    thread.join(60)
    assert found == ["correct", "wrong"]


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from pipelines.config import RewardConfig\n"
        "from pipelines.rewards.workers.pool import ScoringPool\n"
        f"config = RewardConfig(function='{SAMPLES}:obeys', timeout_seconds=1000)\n"
        "with ScoringPool(config, 1) as pool:\n"
        "    print(int(pool.score([('pid', '')])[0].verdict.reward), flush=True)\n"
        "    pool.score([('power', '')])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        assert runs(worker)
        parent.kill()
    assert eventually(lambda: not runs(worker))


def test_a_reward_that_cannot_be_loaded_is_an_input_error() -> None:
    config = RewardConfig(function="python:no_such_module:f")
    with (
        pytest.raises(InputError, match="module no_such_module cannot be imported"),
        ScoringPool(config, 2) as pool,
    ):
        pool.score([("a", "b")])


def test_a_module_that_ends_the_worker_during_its_import_fails_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_at_once.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.chdir(tmp_path)
    config = RewardConfig(function="python:ends_at_once:f")
    with ScoringPool(config, 2) as pool:
        for _ in range(2):  # the pool stays usable and raises the same error again
            with pytest.raises(StageFailed, match="ended while it was starting"):
                pool.score([("a", "b")])


HOSTILE = [
    r"\boxed{" * 10_000,
    r"\boxed{10^9^9^9}",
    r"\boxed{10^{9^{9^{9}}}}",
    r"\boxed{" + "(" * 900 + "1" + ")" * 900 + "}",
    r"\boxed{" + r"\sqrt{" * 150 + "1" + "}" * 150 + "}",
    r"\boxed{" + "9" * 1_000_000 + "}",
    r"\boxed{" + "9" * 1_900 + "}",
    "\\boxed{1\x002}",
    "\\boxed{\u202e18}",
    r"\boxed{__import__('os').system('kill -9 $PPID')}",
    r"\boxed{\sum_{n=1}^{10^{12}} n^{n}}",
    "\ud800",
    "\\boxed{\ud800}",
]


def test_hostile_answers_get_a_verdict_within_the_deadline_and_delay_no_other() -> None:
    config = RewardConfig(timeout_seconds=1.5)
    with ScoringPool(config, 2) as pool:
        pool.score([(r"\boxed{4:2}", "2")])
        scored = pool.score([(solution, "18") for solution in [*HOSTILE, r"\boxed{36:2}"]])
    found = [given.verdict.verdict for given in scored]
    assert found[-1] == "correct"
    assert found[8] == "correct"  # a right-to-left mark beside the right number
    del found[8], found[-1]
    assert "correct" not in found
    assert all(given.milliseconds < 3_000 for given in scored)


def test_pairs_decided_by_text_and_numbers_need_no_worker() -> None:
    with ScoringPool(RewardConfig(), 2) as pool:
        items = [(f"The answer is {n}.", str(n % 50)) for n in range(5_000)]
        start = time.perf_counter()
        scored = pool.score(items)
        seconds = time.perf_counter() - start
        assert pool._workers == []
    assert sum(given.verdict.reward for given in scored) == 50
    assert seconds < 2.5  # 2,000/s, a tenth of the measured rate, so that a busy machine passes


def test_a_symbolically_scored_answer_is_cached() -> None:
    with ScoringPool(RewardConfig(), 1) as pool:
        first = pool.score([(r"So \boxed{36:2}", "18"), ("18", "18")])
        again = pool.score([(r"Thus, another way: \boxed{36:2}", "18")])
    assert [given.verdict.verdict for given in first] == ["correct", "no_answer"]
    assert again[0] == first[0]
