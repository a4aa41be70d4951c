"""Read the lake in SQL: no JVM, no session to open, an answer in well under a second.

delta-rs's embedded engine (DataFusion) reads the tables where they are, in a folder or an object
store, and prunes by run and iteration; only the tables that a query names are opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.errors import LakeError
from pipelines.lake.location import Location
from pipelines.lake.query_results import Row, fetch, literal_table, python_rows
from pipelines.lake.sql_errors import available, one_line, readable_errors
from pipelines.lake.sql_text import only_reads, sql_equals, sql_identifier, words
from pipelines.lake.superseded_rewards import superseded_rewards
from pipelines.lake.torn_log import refuse_torn_log
from pipelines.lake.views import READABLE, VIEWS
from schemas import TABLES
from schemas.table import ColumnType, Table

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES = {table.name: table for table in TABLES}
_VIEWS = {view.name: view for view in VIEWS}
_VERSIONED = re.compile(r"^(\w+)_v(\d+)$")
_ENGINE_TYPES = {
    ColumnType.STRING: "Utf8",
    ColumnType.BOOLEAN: "Boolean",
    ColumnType.INT: "Int32",
    ColumnType.LONG: "Int64",
    ColumnType.DOUBLE: "Float64",
    ColumnType.TIMESTAMP: 'Timestamp(Microsecond, Some("UTC"))',
    ColumnType.STRINGS: "List(Utf8)",
}


class LakeReader:
    """A lake, read-only.

    Args:
        location: where it is. Nothing is opened before the first query.
    """

    def __init__(self, location: Location) -> None:
        self.location = location

    @property
    def uri(self) -> str:
        """The lake's root; a table is at `{uri}/{name}` for other engines."""
        return self.location.uri

    def tables(self) -> list[str]:
        """The tables that the lake has.

        Raises:
            LakeError: there is no lake.
        """
        found = [name for name in _TABLES if self._open(name) is not None]
        if not found:
            raise LakeError(
                f"no lake at {self.uri}; name one with --lake or RESTEM_LAKE, "
                "or make one with 'restem run'"
            )
        return found

    def version(self, table: str) -> int | None:
        """The newest version of a table; None if the lake does not have it yet."""
        opened = self._open(table)
        return None if opened is None else opened.version()

    def runs(self) -> list[str]:
        """The names of the runs, oldest first."""
        rows = self.rows("SELECT run_id FROM runs ORDER BY created_at, run_id")
        return [row["run_id"] for row in rows]

    def require_run(self, run: str) -> None:
        """Check that the lake has a run.

        Raises:
            LakeError: it does not, or there is no lake.
        """
        runs = self.runs()
        if run not in runs:
            raise LakeError(f"no run {run!r} in {self.uri}; {available(run, runs, 'runs')}")

    def arrow(
        self,
        table: str,
        run: str | None = None,
        iteration: int | None = None,
        version: int | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        """The rows of a table or view, see `sql`."""
        selected = ", ".join(map(sql_identifier, columns)) if columns else "*"
        versions = {} if version is None else {table: version}
        return self.sql(f"SELECT {selected} FROM {table}", run, iteration, versions)

    def rows(self, query: str, run: str | None = None) -> list[Row]:
        """The result of a query as Python values, see `sql`."""
        return python_rows(self.sql(query, run))

    def sql(
        self,
        query: str,
        run: str | None = None,
        iteration: int | None = None,
        versions: Mapping[str, int] | None = None,
    ) -> pa.Table:
        """The result of one SELECT over the tables and the views of `pipelines/lake/views.py`.

        Args:
            query: DataFusion SQL. `<table>_v<n>` is a table at version n.
            run: tables hold this run's rows only.
            iteration: tables keyed by iteration hold this iteration's rows only.
            versions: table name -> the Delta version to read; the newest if absent.

        Raises:
            LakeError: there is no lake, the query is wrong or would write, or it names a table,
                column, run or version that is not there.
        """
        if not only_reads(query):
            raise LakeError(
                "sql: must be one SELECT (or WITH ... SELECT); the lake is read-only here"
            )
        named = words(query)
        if named[:2] == ["show", "tables"]:
            return self._list_tables()
        if named[0] in ("describe", "desc") and len(named) > 1 and named[1] in READABLE:
            empty = self.sql(f"SELECT * FROM {named[1]} LIMIT 0", run, iteration, versions)
            return _list_columns(named[1], empty)
        if run is not None:
            self.require_run(run)
        return self._execute(query, set(named), _Scope(run, iteration, versions or {}))

    def _execute(self, query: str, named: set[str], scope: _Scope) -> pa.Table:
        for name in scope.versions:
            if name not in _TABLES:
                raise LakeError(f"--version {name}: no such table; {available(name, _TABLES)}")
        engine = QueryBuilder()
        views = [_VIEWS[name] for name in named if name in _VIEWS]
        tables = {name for name in named if name in _TABLES}
        tables.update(name for view in views for name in view.reads)
        found = [self._define_table(engine, name, scope) for name in sorted(tables)]
        if not any(found):
            self.tables()  # raises if there is no lake at all
        for name in named:
            self._define_table_at_version(engine, name, scope)
        for stage in {view.rewards_read_by for view in views if view.rewards_read_by is not None}:
            self._define_rewards_read_by(engine, stage, scope)
        for view in views:
            _define(engine, view.name, f"SELECT * FROM ({view.sql}){scope.where_iteration()}")
        with readable_errors():
            return fetch(engine, query)

    def _define_table(self, engine: QueryBuilder, name: str, scope: _Scope) -> bool:
        """Define a table and its `all_<table>`, empty if the lake lacks it: then False."""
        opened = self._open(name, scope.versions.get(name))
        if opened is None:
            _define(engine, f"all_{name}", _select_nothing(_TABLES[name]))
        else:
            engine.register(f"stored_{name}", opened)
            _define(engine, f"all_{name}", f"SELECT * FROM stored_{name}{scope.where_run()}")
        where = scope.where_iteration() if "iteration" in _TABLES[name].key else ""
        _define(engine, name, f"SELECT * FROM all_{name}{where}")
        return opened is not None

    def _define_table_at_version(self, engine: QueryBuilder, name: str, scope: _Scope) -> None:
        """Define `<table>_v<n>`, if the name has that form and the lake has the table."""
        match = _VERSIONED.match(name)
        if match is None or match[1] not in _TABLES:
            return
        opened = self._open(match[1], int(match[2]))
        if opened is not None:
            engine.register(f"stored_{name}", opened)
            _define(engine, name, f"SELECT * FROM stored_{name}{scope.where_run()}")

    def _define_rewards_read_by(self, engine: QueryBuilder, stage: str, scope: _Scope) -> None:
        """Define the verdicts a stage read: the newest, except where they have been superseded."""
        older = []
        if "rewards" not in scope.versions:
            older = superseded_rewards(self.rows, stage, scope.run)
        for version in {item.version for item in older}:
            opened = self._open("rewards", version)
            assert opened is not None, "the lake has a rescored run and no rewards"
            engine.register(f"rewards_at_{version}", opened)
        parts = [f"SELECT * FROM rewards_at_{item.version} WHERE {item.where}" for item in older]
        superseded = " OR ".join(f"({item.where})" for item in older) or "false"
        parts.append(f"SELECT * FROM all_rewards WHERE NOT ({superseded})")
        _define(engine, f"rewards_read_by_{stage}", " UNION ALL ".join(parts))

    def _open(self, name: str, version: int | None = None) -> DeltaTable | None:
        try:
            return self.location.open_table(name, version)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            newest = None if version is None else self.version(name)
            if newest is not None:
                raise LakeError(
                    f"{name} has no version {version}; its versions are 0 to {newest}"
                ) from None
            refuse_torn_log(self.location, name)
            raise LakeError(f"cannot read {self.location.table(name)}: {one_line(error)}") from None

    def _list_tables(self) -> pa.Table:
        stored = set(self.tables())
        rows = []
        for name, grain in READABLE.items():
            kind = "view" if name in _VIEWS else "table"
            rows.append((name, kind, self.version(name) if name in stored else None, grain))
        return literal_table(("name", "kind", "version", "holds"), rows)


@dataclass(frozen=True)
class _Scope:
    """What a query is restricted to."""

    run: str | None
    iteration: int | None
    versions: Mapping[str, int]

    def where_run(self) -> str:
        return "" if self.run is None else f" WHERE {sql_equals(run_id=self.run)}"

    def where_iteration(self) -> str:
        return "" if self.iteration is None else f" WHERE {sql_equals(iteration=self.iteration)}"


def _define(engine: QueryBuilder, name: str, select: str) -> None:
    engine.execute(f"CREATE VIEW {name} AS {select}")


def _select_nothing(table: Table) -> str:
    nulls = (f"arrow_cast(NULL, '{_ENGINE_TYPES[c.type]}') AS {c.name}" for c in table.columns)
    return f"SELECT {', '.join(nulls)} WHERE false"


def _list_columns(name: str, empty: pa.Table) -> pa.Table:
    described = (_TABLES[name],) if name in _TABLES else TABLES
    meanings = {column.name: column.meaning for table in described for column in table.columns}
    if name in _VIEWS:
        meanings |= _VIEWS[name].meanings
    rows = [(field.name, str(field.type), meanings.get(field.name)) for field in empty.schema]
    return literal_table(("column", "type", "meaning"), rows)
