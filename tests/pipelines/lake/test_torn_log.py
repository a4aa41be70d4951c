"""A log file that is cut in the middle is named, with what to do."""

import re
from pathlib import Path

import pytest

from pipelines.config import LakeConfig
from pipelines.errors import LakeError
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.tables import create_tables, refuse_another_version


@pytest.fixture
def location(tmp_path: Path) -> Location:
    made = Location(str(tmp_path))
    create_tables(made, LakeConfig(uri=str(tmp_path)))
    return made


def tear(location: Location, version: int, data: bytes) -> Path:
    torn = location.folder / "stages" / "_delta_log" / f"{version:020}.json"
    torn.write_bytes(data)
    return torn


@pytest.mark.parametrize("text", [b'{"commitInfo": {"times', b"\0" * 64])
def test_the_newest_log_file_is_named_and_the_lake_works_without_it(
    location: Location, text: bytes
) -> None:
    torn = tear(location, 1, text)
    said = rf"{re.escape(str(torn))} is not whole.*move it away.*same command"
    with pytest.raises(LakeError, match=said):
        refuse_another_version(location)
    with pytest.raises(LakeError, match=said):
        LakeReader(location).rows("SELECT * FROM stages")
    torn.unlink()
    refuse_another_version(location)
    assert LakeReader(location).rows("SELECT * FROM stages") == []


def test_an_older_log_file_is_not_to_be_moved_away(location: Location) -> None:
    whole = (location.folder / "stages" / "_delta_log" / f"{0:020}.json").read_bytes()
    tear(location, 2, whole)
    tear(location, 1, b'{"commitInfo": {"times')
    with pytest.raises(LakeError, match=r"cannot use") as raised:
        refuse_another_version(location)
    assert "move it away" not in str(raised.value)
