from benchmarks.fault_tables import Damage, Rows, Snapshot, compare, without_times_and_places


def held(rows: Rows, doubled: int = 0) -> Snapshot:
    return Snapshot(rows, rows, doubled)


def test_an_equal_run_has_no_damage() -> None:
    rows = {"samples": {"a": "1", "b": "2"}}
    assert compare([held({"samples": {"a": "1"}}), held(rows)], held(rows), rows) == Damage()


def test_lost_changed_and_doubled_rows_are_counted_apart() -> None:
    before = held({"samples": {"a": "1", "b": "2", "c": "3"}, "problems": {"p": "1"}})
    now = held({"samples": {"a": "1", "b": "other", "d": "4"}}, doubled=1)
    undisturbed = {"samples": {"a": "1", "b": "other", "d": "4"}}
    damage = compare([before], now, undisturbed)
    assert damage == Damage(lost=2, doubled=1, changed=1, differing=0)


def test_rows_that_an_undisturbed_run_has_otherwise_differ() -> None:
    now, undisturbed = (
        {"samples": {"a": "1", "b": "2"}},
        {"samples": {"a": "1"}, "prompts": {"p": "1"}},
    )
    assert compare([], held(now), undisturbed).differing == 2


def test_equal_results_at_other_times_and_places_are_equal() -> None:
    first = {
        "policy_id": "p",
        "checkpoint_uri": "/a",
        "log_probability": -1.00001,
        "history": '[{"epoch": 1, "train_loss": 2.0, "seconds": 3.0}]',
    }
    second = first | {
        "checkpoint_uri": "/b",
        "log_probability": -1.00002,
        "history": '[{"epoch": 1, "train_loss": 2.0, "seconds": 9.0}]',
    }
    assert without_times_and_places(first) == without_times_and_places(second)
    other = second | {"history": '[{"epoch": 1, "train_loss": 2.1, "seconds": 9.0}]'}
    assert without_times_and_places(first) != without_times_and_places(other)
