"""The notebooks run from top to bottom on a small lake, and are committed without outputs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from schemas import RUNS
from tests import factories
from tests.lake_fixture import write_lake

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def read(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@by_name
def test_notebooks_have_no_stored_outputs(path: Path) -> None:
    for cell in code_cells(read(path)):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.slow
@by_name
def test_notebooks_run_on_a_small_lake(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbclient import NotebookClient

    lake = write_lake(tmp_path)
    begun = factories.arrow(
        RUNS, {"run_id": "begun", "created_at": datetime(2030, 1, 1, tzinfo=UTC)}
    )
    write_deltalake(lake / "runs", begun, mode="append", partition_by=list(RUNS.partition_by))
    monkeypatch.setenv("RESTEM_LAKE", str(lake))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = read(path)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    printed = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in printed)
    assert any("run 'second'" in output.get("text", "") for output in printed)
