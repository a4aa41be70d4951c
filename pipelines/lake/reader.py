"""Read the lake in SQL: no JVM, no session to open, an answer in well under a second.

delta-rs's embedded engine (DataFusion) reads the tables where they are, a folder or an object
store, and prunes by run and iteration; only the tables that a query names are opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import LakeError
from pipelines.lake.answers import literal, plain, quoted, rows_of
from pipelines.lake.location import Location
from pipelines.lake.pins import rescored_since
from pipelines.lake.queries import READABLE, VIEWS, View, only_reads, words
from pipelines.lake.sql_errors import explained, nearest, one_line
from schemas import TABLES
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

_TABLES = {table.name: table for table in TABLES}
_VIEWS = {view.name: view for view in VIEWS}
_VERSIONED = re.compile(r"^(\w+)_v(\d+)$")


class LakeReader:
    """A lake, read-only.

    Args:
        location: where it is. Nothing is opened until it is asked for.
    """

    def __init__(self, location: Location) -> None:
        self._location = location

    @property
    def uri(self) -> str:
        """Where the lake is."""
        return self._location.uri

    def tables(self) -> list[str]:
        """The tables that the lake has.

        Raises:
            LakeError: there is no lake.
        """
        there = [name for name in _TABLES if self._open(name) is not None]
        if not there:
            raise LakeError(
                f"no lake at {self.uri}; name one with --lake or RESTEM_LAKE, "
                "or make one with 'restem run'"
            )
        return there

    def table_uri(self, table: str) -> str:
        """The URI of a table, for other engines."""
        return self._location.table(table)

    def version(self, table: str) -> int | None:
        """The newest version of a table; None if the lake does not have it yet."""
        opened = self._open(table)
        return None if opened is None else int(opened.version())

    def runs(self) -> list[str]:
        """The names of the runs, oldest first."""
        rows = self.rows("SELECT run_id FROM runs ORDER BY created_at, run_id")
        return [row["run_id"] for row in rows]

    def arrow(
        self,
        table: str,
        run: str | None = None,
        iteration: int | None = None,
        version: int | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        """The rows of a table or view, see `sql`."""
        chosen = ", ".join(f'"{name}"' for name in columns) if columns else "*"
        versions = {} if version is None else {table: version}
        return self.sql(f"SELECT {chosen} FROM {table}", run, iteration, versions)

    def sql(
        self,
        query: str,
        run: str | None = None,
        iteration: int | None = None,
        versions: Mapping[str, int] | None = None,
    ) -> pa.Table:
        """The answer to one SELECT over the tables and views of `pipelines/lake/queries.py`.

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
        said = words(query)
        if said[:2] == ["show", "tables"]:
            return self._contents()
        if said[0] in ("describe", "desc") and len(said) > 1 and said[1] in READABLE:
            query = f"SELECT * FROM {said[1]} LIMIT 0"
            return _columns(said[1], self.sql(query, run, iteration, versions))
        if run is not None:
            self.require_run(run)
        return self._answer(query, set(said), _Scope(run, iteration, dict(versions or {})))

    def rows(self, query: str, run: str | None = None) -> list[dict[str, Any]]:
        """The answer to a query as Python values, see `sql`."""
        return rows_of(self.sql(query, run))

    def _answer(self, query: str, said: set[str], scope: _Scope) -> pa.Table:
        from deltalake import QueryBuilder

        for name in scope.versions:
            if name not in _TABLES:
                raise LakeError(f"--version {name}: no such table; {nearest(name, _TABLES)}")
        engine = QueryBuilder()
        views = [_VIEWS[name] for name in said if name in _VIEWS]
        tables = {name for name in said if name in _TABLES}
        tables.update(name for view in views for name in view.reads)
        found = [self._register(engine, name, scope) for name in sorted(tables)]
        if not any(found):
            self.tables()  # says so if there is no lake at all
        for name in said:
            self._register_version(engine, name, scope)
        for stage in {view.pinned_to for view in views if view.pinned_to is not None}:
            self._register_read(engine, stage, scope)
        for view in views:
            _define(engine, view.name, _select_view(view, scope))
        with explained():
            return plain(engine.execute(query))

    def _register(self, engine: QueryBuilder, name: str, scope: _Scope) -> bool:
        """Define a table's views; a table that the lake lacks is defined empty."""
        opened = self._open(name, scope.versions.get(name))
        if opened is None:
            _define(engine, f"all_{name}", _select_nothing(_TABLES[name]))
        else:
            engine.register(f"stored_{name}", opened)
            _define(engine, f"all_{name}", f"SELECT * FROM stored_{name}{scope.where_run()}")
        where = scope.where_iteration() if "iteration" in _TABLES[name].key else ""
        _define(engine, name, f"SELECT * FROM all_{name}{where}")
        return opened is not None

    def _register_read(self, engine: QueryBuilder, stage: str, scope: _Scope) -> None:
        """Define the verdicts that a stage read: the newest, but where they were made again."""
        pins = [] if "rewards" in scope.versions else rescored_since(self.rows, stage, scope.run)
        for version in {pin.version for pin in pins}:
            engine.register(f"pinned_rewards_{version}", self._open("rewards", version))
        parts = [f"SELECT * FROM pinned_rewards_{pin.version} WHERE {pin.where}" for pin in pins]
        newest = " OR ".join(f"({pin.where})" for pin in pins) or "false"
        parts.append(f"SELECT * FROM all_rewards WHERE NOT ({newest})")
        _define(engine, f"rewards_read_by_{stage}", " UNION ALL ".join(parts))

    def _register_version(self, engine: QueryBuilder, name: str, scope: _Scope) -> None:
        match = _VERSIONED.match(name)
        if match is None or match[1] not in _TABLES:
            return
        opened = self._open(match[1], int(match[2]))
        if opened is not None:
            engine.register(f"stored_{name}", opened)
            _define(engine, name, f"SELECT * FROM stored_{name}{scope.where_run()}")

    def _open(self, name: str, version: int | None = None) -> DeltaTable | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        uri, options = self._location.table(name), self._location.storage_options
        try:
            return DeltaTable(uri, version=version, storage_options=options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            newest = None if version is None else self.version(name)
            if newest is not None:
                raise LakeError(
                    f"{name} has no version {version}; its versions are 0 to {newest}"
                ) from None
            raise LakeError(f"cannot read {uri}: {one_line(error)}") from None

    def require_run(self, run: str) -> None:
        """Check that the lake has a run.

        Raises:
            LakeError: it does not, or there is no lake.
        """
        there = self.runs()
        if run not in there:
            raise LakeError(f"no run {run!r} in {self.uri}; {nearest(run, there, 'runs')}")

    def _contents(self) -> pa.Table:
        there = set(self.tables())
        rows = []
        for name, grain in READABLE.items():
            kind = "view" if name in _VIEWS else "table"
            rows.append((name, kind, self.version(name) if name in there else None, grain))
        return literal(("name", "kind", "version", "holds"), rows)


class _Scope:
    """What a query is restricted to."""

    def __init__(self, run: str | None, iteration: int | None, versions: dict[str, int]) -> None:
        self.run, self.iteration, self.versions = run, iteration, versions

    def where_run(self) -> str:
        return "" if self.run is None else f" WHERE run_id = {quoted(self.run)}"

    def where_iteration(self) -> str:
        return "" if self.iteration is None else f" WHERE iteration = {self.iteration}"


def _define(engine: QueryBuilder, name: str, select: str) -> None:
    engine.execute(f"CREATE VIEW {name} AS {select}")


def _select_view(view: View, scope: _Scope) -> str:
    return f"SELECT * FROM ({view.sql}){scope.where_iteration()}"


def _select_nothing(table: Table) -> str:
    types = {
        "STRING": "Utf8",
        "BOOLEAN": "Boolean",
        "INT": "Int32",
        "BIGINT": "Int64",
        "DOUBLE": "Float64",
        "TIMESTAMP": 'Timestamp(Microsecond, Some("UTC"))',
        "ARRAY<STRING>": "List(Utf8)",
    }
    nulls = (f"arrow_cast(NULL, '{types[c.type.value]}') AS {c.name}" for c in table.columns)
    return f"SELECT {', '.join(nulls)} WHERE false"


def _columns(name: str, empty: pa.Table) -> pa.Table:
    meanings = {c.name: c.meaning for table in TABLES for c in table.columns}
    if name in _TABLES:
        meanings = {c.name: c.meaning for c in _TABLES[name].columns}
    rows = [(field.name, str(field.type), meanings.get(field.name)) for field in empty.schema]
    return literal(("column", "type", "meaning"), rows)
