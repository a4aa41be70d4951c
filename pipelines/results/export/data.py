"""A run's training set and samples as files that `datasets`, pandas and others read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.reader import LakeReader

TRAINING_SET = "training_set"
SAMPLES = "samples"


class FileFormat(StrEnum):
    """How rows are stored."""

    parquet = "parquet"
    jsonl = "jsonl"


_TRAINING_ROWS = """
SELECT problem_id, question, reference, prompt, solution, stop_string, weight, reward, verdict,
       extracted, verifier, verifier_version, selection_rank, sample_id, policy_id AS sampled_from,
       trained_policy_id, num_tokens, seed, temperature, top_k, top_p, dataset
FROM training_rows ORDER BY problem_id, selection_rank, sample_id
"""
_SAMPLES = """
SELECT v.*, c.kept, c.reason AS selection_reason
FROM sample_verdicts v LEFT JOIN selections c
  ON c.iteration = v.iteration + 1 AND c.sample_id = v.sample_id
WHERE v.iteration = {iteration} ORDER BY v.purpose, v.problem_id, v.decoding, v.index, v.sample_id
"""


def write_training_set(
    reader: LakeReader, run: str, iteration: int, folder: Path, form: FileFormat
) -> int:
    """Write D_i, on which policy i was trained; the number of rows."""
    return _write(reader.sql(_TRAINING_ROWS, run, iteration), folder / TRAINING_SET, "train", form)


def write_samples(reader: LakeReader, run: str, folder: Path, form: FileFormat) -> int:
    """Write all samples of a run with their verdicts, a file per iteration; the number of rows."""
    found = reader.rows("SELECT DISTINCT iteration FROM samples ORDER BY iteration", run)
    return sum(
        _write(
            reader.sql(_SAMPLES.format(iteration=row["iteration"]), run),
            folder / SAMPLES,
            f"iteration-{row['iteration']}",
            form,
        )
        for row in found
    )


def _write(rows: pa.Table, folder: Path, name: str, form: FileFormat) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{form}"
    if form is FileFormat.parquet:
        import pyarrow.parquet as pq

        pq.write_table(rows, path)
    else:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in _json_lines(rows))
    return int(rows.num_rows)


def _json_lines(rows: pa.Table) -> Iterator[str]:
    from pipelines.lake.query_results import python_rows

    for batch in rows.to_batches(max_chunksize=10_000):
        for row in python_rows(rows.from_batches([batch])):
            yield json.dumps(row, ensure_ascii=False, default=str)


def columns_of(folder: Path, name: str, form: FileFormat) -> Sequence[str]:
    """The columns of the files written under a name."""
    first = min((folder / name).glob(f"*.{form}"))
    if form is FileFormat.parquet:
        import pyarrow.parquet as pq

        return list(pq.read_schema(first).names)
    with first.open(encoding="utf-8") as file:
        return list(json.loads(file.readline() or "{}"))
