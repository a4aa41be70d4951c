import pyarrow as pa
import pytest

from schemas import SAMPLES, TABLES
from schemas.table import Column, ColumnType, Table


def test_table_names_are_unique() -> None:
    names = [table.name for table in TABLES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_says_what_a_row_is_and_is_partitioned_by_run_and_iteration(
    table: Table,
) -> None:
    assert table.grain.startswith("one row per ")
    assert table.partition_by == ("run_id", "iteration")
    assert table.key[0] == "run_id"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_table_uses_a_type_that_raises_the_delta_protocol(table: Table) -> None:
    from deltalake import Schema

    fields = Schema.from_arrow(table.arrow_schema()).fields
    assert [field.name for field in fields] == list(table.column_names)
    assert "timestamp_ntz" not in {str(field.type) for field in fields}


def test_arrow_and_spark_schemas_of_a_table_agree() -> None:
    arrow, spark = SAMPLES.arrow_schema(), SAMPLES.spark_schema()
    assert arrow.names == spark.names == list(SAMPLES.column_names)
    assert [field.nullable for field in arrow] == [field.nullable for field in spark]


def test_an_arrow_schema_can_leave_the_partition_columns_out() -> None:
    for table in TABLES:
        whole, own = table.arrow_schema(), table.arrow_schema(partition_columns=False)
        assert list(own) == [field for field in whole if field.name not in table.partition_by]


def test_every_column_type_is_rendered_for_every_engine() -> None:
    for kind in ColumnType:
        assert isinstance(kind.arrow(), pa.DataType)
        assert kind.spark().simpleString().upper().startswith(kind.value.split("<")[0][:3])


def test_a_key_that_is_no_column_is_refused() -> None:
    with pytest.raises(AssertionError, match="no column"):
        Table("t", "one row per x", ("absent",), (Column("a", ColumnType.INT, "a"),), ("a",))
