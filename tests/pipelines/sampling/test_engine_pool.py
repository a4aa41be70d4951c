from pathlib import Path

from pipelines.sampling.engine_pool import last_error


def test_the_last_error_of_a_log_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    assert last_error(log) is None
    old = "ValueError: of an earlier start\n"
    log.write_text(
        f"{old}INFO no errors here\nTraceback (most recent call last):\n  File x\n"
        "torch.OutOfMemoryError: tried to allocate 20 GiB\nINFO bye\n"
    )
    assert last_error(log) == "torch.OutOfMemoryError: tried to allocate 20 GiB"
    log.write_text(f"{old}INFO bye\n")
    assert last_error(log, len(old)) is None
