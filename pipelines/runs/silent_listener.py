"""A listener for work on a stored run outside its loop: rescoring, grading."""

from __future__ import annotations

from pipelines.lake.reader import LakeReader
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot


class SilentListener:
    """Logs nothing, and takes the tracker's run ids from the lake.

    Args:
        reader: the lake.
        run: the run that is worked on.
    """

    def __init__(self, reader: LakeReader, run: str) -> None:
        self._parent: str | None = reader.rows("SELECT mlflow_run_id FROM runs", run)[0][
            "mlflow_run_id"
        ]
        seals = reader.rows("SELECT iteration, mlflow_run_id FROM stages", run)
        self._by_iteration = {row["iteration"]: row["mlflow_run_id"] for row in seals}

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        """See pipelines.lake.lake.Listener."""
        return self._parent if iteration is None else self._by_iteration.get(iteration)

    def stage_sealed(self, seal: Seal, snapshot: TableSnapshot, *, repeated: bool) -> None:
        """See pipelines.lake.lake.Listener."""
