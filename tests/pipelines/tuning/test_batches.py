import pytest

from pipelines.tuning.batches import PassLimit, global_batches, learning_rate, worker_passes
from pipelines.tuning.packing import PackedRow

ROWS = [PackedRow(tokens=tuple(range(2 + i % 7)), num_prompt=1, weight=float(i)) for i in range(21)]


def test_every_row_is_trained_on_once_per_epoch() -> None:
    batches = global_batches(ROWS, 8, seed=1, epoch=1)
    assert [len(batch) for batch in batches] == [8, 8, 5]
    assert sorted(row.weight for batch in batches for row in batch) == [float(i) for i in range(21)]


def test_the_order_changes_with_the_epoch_and_repeats_with_the_seed() -> None:
    assert global_batches(ROWS, 8, 1, 1) == global_batches(ROWS, 8, 1, 1)
    assert global_batches(ROWS, 8, 1, 1) != global_batches(ROWS, 8, 1, 2)
    assert global_batches(ROWS, 8, 1, 1) != global_batches(ROWS, 8, 2, 1)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_workers_share_a_batch_without_overlap(world_size: int) -> None:
    batch = global_batches(ROWS, 8, 1, 1)[0]
    dealt = [
        row
        for rank in range(world_size)
        for rows in worker_passes(batch, rank, world_size, PassLimit(rows=3))
        for row in rows
    ]
    assert sorted(row.weight for row in dealt) == sorted(row.weight for row in batch)


def test_a_pass_holds_at_most_rows_per_pass_rows_sorted_by_length() -> None:
    passes = worker_passes(tuple(ROWS[:8]), 0, 1, PassLimit(rows=3))
    assert [len(rows) for rows in passes] == [3, 3, 2]
    lengths = [len(row.tokens) for rows in passes for row in rows]
    assert lengths == sorted(lengths)


def test_a_pass_holds_at_most_max_tokens_per_pass_tokens_with_its_padding() -> None:
    # Rows of 2 to 8 tokens: as many as fit at the length of the longest.
    passes = worker_passes(tuple(ROWS[:14]), 0, 1, PassLimit(tokens=12))
    lengths = [[len(row.tokens) for row in rows] for rows in passes]
    assert lengths == [[2, 2, 3, 3], [4, 4], [5, 5], [6, 6], [7], [7], [8], [8]]
    both = worker_passes(tuple(ROWS[:14]), 0, 1, PassLimit(rows=3, tokens=12))
    assert [len(rows) for rows in both] == [3, 3, 2, 2, 1, 1, 1, 1]


def test_a_row_longer_than_a_pass_is_a_pass_of_its_own() -> None:
    passes = worker_passes(tuple(ROWS[:7]), 0, 1, PassLimit(tokens=1))
    assert [len(rows) for rows in passes] == [1] * 7


def test_without_a_limit_a_worker_makes_one_pass() -> None:
    assert [len(rows) for rows in worker_passes(tuple(ROWS), 0, 1, PassLimit())] == [21]


def test_a_worker_may_get_no_row_of_a_short_batch() -> None:
    assert worker_passes(tuple(ROWS[:1]), 1, 2, PassLimit(rows=3)) == []


def test_the_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate(step, 10, peak=1.0, warmup_ratio=0.2) for step in range(10)]
    assert rates == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]


def test_without_warm_up_the_first_step_has_the_peak_rate() -> None:
    assert learning_rate(0, 3, peak=2.0, warmup_ratio=0.0) == 2.0
    assert learning_rate(0, 1, peak=2.0, warmup_ratio=1.0) == 2.0
