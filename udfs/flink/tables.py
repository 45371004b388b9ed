"""Reads what is declared in Flink's catalog, and prepares the tables that models read.

A prepared table is a customer's table, read once for all models, with two columns more: ``thalweg_ms``, the time of the
row as epoch ms, and ``thalweg_late``, whether the watermark had already passed it. Where the table has a watermark,
``thalweg_time`` is its time attribute. A Kafka table is decoded here, so that a record that cannot be decoded becomes a
row of ``<table>_dead_letters`` and the job goes on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pyflink.table import Schema, StreamTableEnvironment
from pyflink.table.types import _from_java_data_type
from thalweg.connector.ddl import quote_name, quote_text
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.flink.added_rows import added_rows
from thalweg.udfs.flink.functions import TOMBSTONE, decode_function
from thalweg.udfs.flink.statements import epoch_ms

__all__ = ["Declared", "Prepared", "TableReader", "read_model"]

_GUARDED_FORMATS = ("avro", "json")
_RECORD = (
    ("thalweg_topic", "STRING", "topic"),
    ("thalweg_partition", "INT", "partition"),
    ("thalweg_offset", "BIGINT", "offset"),
    ("thalweg_record_time", "TIMESTAMP_LTZ(3)", "timestamp"),
    ("thalweg_headers", "MAP<STRING, BYTES>", "headers"),
)
_PLAIN = {
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR",
    "STRING", "BINARY", "VARBINARY", "BYTES",
}  # fmt: skip


class Declared(NamedTuple):
    """A model as the catalog has it: columns as (name, SQL type), and the WITH options."""

    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    options: dict[str, str]


class Prepared(NamedTuple):
    """A table that models can read.

    Attributes
    ----------
    view : str
        Its name.
    types : dict of str to str
        SQL type of each column of the customer's table.
    timed : bool
        Whether it has a time attribute, ``thalweg_time``.
    dead_letters : str or None
        Name of the view with the records that could not be decoded.
    """

    view: str
    types: dict[str, str]
    timed: bool
    dead_letters: str | None


def read_model(t_env: StreamTableEnvironment, name: str) -> Declared:
    """Return a declared model.

    Raises
    ------
    ConfigError
        There is no model of that name.
    """
    manager = t_env._j_tenv.getCatalogManager()
    found = manager.getModel(manager.qualifyIdentifier(t_env._j_tenv.getParser().parseIdentifier(quote_name(name))))
    if not found.isPresent():
        raise ConfigError([Problem(f"model {name}", "is not declared.", "Declare it with CREATE MODEL.")])
    model = found.get().getResolvedModel()
    schemas = (model.getResolvedInputSchema(), model.getResolvedOutputSchema())
    inputs, outputs = ([(c.getName(), _type_text(c)) for c in schema.getColumns()] for schema in schemas)
    return Declared(inputs, outputs, dict(model.getOptions()))


class TableReader:
    """Prepares each table once, however many models read it."""

    def __init__(self, t_env: StreamTableEnvironment) -> None:
        self._t_env = t_env
        self._prepared: dict[tuple[str, str | None, str], Prepared] = {}

    def prepare(self, table: str, event_time: str | None, on_malformed: str, where: str) -> Prepared:
        """Return the prepared form of a table.

        Parameters
        ----------
        table : str
            Name of a table or view.
        event_time : str or None
            Column with the time of a row; None: the time attribute, or without one the time of arrival.
        on_malformed : str
            ``dead-letter`` or ``fail``.
        where : str
            Who asks, for errors.

        Raises
        ------
        ConfigError
            There is no such table or column, or its records cannot be guarded.
        """
        known = (table, event_time, on_malformed)
        if known not in self._prepared:
            again = sum(name == table for name, _, _ in self._prepared)
            view = "thalweg_" + "".join(c if c.isalnum() else "_" for c in table) + (f"_{again}" if again else "")
            self._prepared[known] = self._prepare(_Source(self._t_env, table, where), view, event_time, on_malformed)
        return self._prepared[known]

    def _prepare(self, source: _Source, view: str, event_time: str | None, on_malformed: str) -> Prepared:
        attribute = source.attribute
        if event_time is not None and event_time not in source.types:
            what = f"table '{source.table}' has no column '{event_time}'."
            raise ConfigError(
                [Problem(f"{source.where}, option 'event-time'", what, f"It has {', '.join(source.types)}.")]
            )
        types = {name: sql_type for name, sql_type in source.types.items() if name != attribute}
        time, late = _time(attribute or event_time, source.types, attribute if source.marked else None)
        stamps = f"{time} AS thalweg_ms, {late} AS thalweg_late"
        columns = ", ".join(map(quote_name, types))
        if not (source.is_guardable() and on_malformed == "dead-letter"):
            self._stage(view, f"SELECT {columns}, {stamps} FROM {source.path}", source)
            return Prepared(view, types, attribute is not None, None)
        raw, physical, expressions = raw_twin(source, f"{view}_raw")
        self._t_env.execute_sql(raw)
        function = f"{view}_decode"
        self._t_env.create_temporary_function(
            function,
            decode_function(
                [(c.getName(), _type_text(c), c.getDataType().getLogicalType().isNullable()) for c in physical],
                source.format,
                # A record that cannot be decoded is nulls, whatever the table says.
                [_from_java_data_type(c.getDataType().nullable()) for c in physical],
            ),
        )
        decoded = ", ".join(f"d.c{at} AS {quote_name(c.getName())}" for at, c in enumerate(physical))
        carried = "thalweg_topic, thalweg_partition, thalweg_offset, thalweg_record_time, thalweg_headers, thalweg_key"
        meta = "".join(f"{quote_name(c.getName())}, " for c in source.columns if _sort(c) == "MetadataColumn")
        inner = (
            f"SELECT {decoded}, {meta}{carried}, d.error AS thalweg_error, thalweg_payload"
            f" FROM (SELECT *, {function}(thalweg_payload) AS d FROM {quote_name(view + '_raw')})"
        )
        computed = ", ".join(expressions.get(name, quote_name(name)) + f" AS {quote_name(name)}" for name in types)
        self._stage(
            f"{view}_all",
            f"SELECT {computed}, {stamps}, thalweg_topic, thalweg_partition, thalweg_offset, "
            f"{epoch_ms('thalweg_record_time', True)} AS thalweg_record_ms, thalweg_key, thalweg_error,"
            " CASE WHEN thalweg_error IS NOT NULL THEN thalweg_headers END AS thalweg_headers,"
            " CASE WHEN thalweg_error IS NOT NULL THEN thalweg_payload END AS thalweg_payload"
            f" FROM ({inner})",
            source,
        )
        stamp = ", thalweg_time" if attribute else ""
        self._t_env.execute_sql(
            f"CREATE TEMPORARY VIEW {view} AS SELECT {columns}, thalweg_ms, thalweg_late{stamp} FROM {view}_all"
            " WHERE thalweg_error IS NULL"
        )
        dead_letters = f"{source.table.rpartition('.')[2]}_dead_letters"
        self._t_env.execute_sql(
            f"CREATE TEMPORARY VIEW {quote_name(dead_letters)} AS SELECT thalweg_topic AS `topic`,"
            " thalweg_partition AS `partition`, thalweg_offset AS `offset`, thalweg_record_ms AS record_time_ms,"
            " 'decode' AS stage, '' AS model, thalweg_error AS reason, thalweg_key AS `key`,"
            " thalweg_payload AS payload, thalweg_headers AS headers"
            f" FROM {view}_all WHERE thalweg_error <> {quote_text(TOMBSTONE)}"
        )
        return Prepared(view, types, attribute is not None, dead_letters)

    def _stage(self, view: str, query: str, source: _Source) -> None:
        """Make a query a stage of its own: computed once, whoever reads it."""
        stream = added_rows(self._t_env, query, source.table, source.where)
        schema = Schema.new_builder()
        if source.attribute is not None:
            schema = schema.column_by_expression("thalweg_time", "TO_TIMESTAMP_LTZ(thalweg_ms, 3)").watermark(
                "thalweg_time", "SOURCE_WATERMARK()"
            )
        self._t_env.create_temporary_view(view, self._t_env.from_data_stream(stream, schema.build()))


class _Source:
    """What the catalog knows about a table."""

    def __init__(self, t_env: StreamTableEnvironment, table: str, where: str) -> None:
        self.table, self.where = table, where
        self.path = ".".join(map(quote_name, table.split(".")))
        manager = t_env._j_tenv.getCatalogManager()
        found = manager.getTable(manager.qualifyIdentifier(t_env._j_tenv.getParser().parseIdentifier(self.path)))
        if not found.isPresent():
            raise ConfigError(
                [
                    Problem(
                        where,
                        f"table '{table}' does not exist.",
                        "Declare it, or correct its name in the model's options.",
                    )
                ]
            )
        resolved = found.get().getResolvedTable()
        self.schema = getattr(t_env._j_tenv, "from")(self.path).getResolvedSchema()
        self.columns = list(self.schema.getColumns())
        self.types = {column.getName(): _type_text(column) for column in self.columns}
        self.options = dict(resolved.getOptions()) if str(resolved.getTableKind()) == "TABLE" else {}
        self.format: str = self.options.get("value.format") or self.options.get("format") or ""
        self.attribute: str | None = None
        for column in self.columns:
            if "*ROWTIME*" in column.getDataType().getLogicalType().asSummaryString():
                self.attribute = column.getName()
        # In batch mode no column is marked as the time and no row is late, but the declared watermark names the time.
        self.marked = self.attribute is not None
        for spec in self.schema.getWatermarkSpecs():
            self.attribute = self.attribute or spec.getRowtimeAttribute()

    def is_guardable(self) -> bool:
        """Return whether records of this table can be kept when they cannot be decoded."""
        return self.options.get("connector") == "kafka" and self.format in _GUARDED_FORMATS


def raw_twin(source: _Source, name: str) -> tuple[str, list[Any], dict[str, str]]:
    """Return the DDL of the table that reads the same topic as bytes, the decoded columns and the computed ones."""
    physical = [column for column in source.columns if _sort(column) == "PhysicalColumn"]
    expressions, metadata, problems = {}, [], []
    read: dict[str, str] = {}  # Flink lets a metadata key be read by one column only
    where = f"{source.where}, table '{source.table}'"
    for column in source.columns:
        if _sort(column) == "ComputedColumn":
            expressions[column.getName()] = column.getExpression().asSerializableString()
        elif _sort(column) == "MetadataColumn":
            key = column.getMetadataKey().orElse(column.getName())
            read[key] = quote_name(column.getName())
            metadata.append(
                f"{quote_name(column.getName())} {_type_text(column)} METADATA FROM {quote_text(key)} VIRTUAL"
            )
    watermark = ""
    for spec in source.schema.getWatermarkSpecs():
        timed = next(c for c in source.columns if c.getName() == spec.getRowtimeAttribute())
        if _sort(timed) != "MetadataColumn":
            what = "its time comes from the payload, so a record that cannot be decoded would have no time."
            remedy = (
                "Declare the time as 'rowtime TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'' with the watermark on"
                " it, or set "
                "'on-malformed' = 'fail' on the model."
            )
            problems.append(Problem(where, what, remedy))
        watermark = (
            f", WATERMARK FOR {quote_name(spec.getRowtimeAttribute())} AS"
            f" {spec.getWatermarkExpression().asSerializableString()}"
        )
    if "key.format" in source.options:
        problems.append(
            Problem(
                where,
                "its key has a format of its own.",
                "Set 'on-malformed' = 'fail' on the model, or drop 'key.format'.",
            )
        )
    for column in physical:
        if not _plain(_type_text(column)):
            what = f"column '{column.getName()}' has type {_type_text(column)}, which is not decoded here."
            problems.append(Problem(where, what, "Set 'on-malformed' = 'fail' on the model."))
    if problems:
        raise ConfigError(problems)
    columns = [
        "thalweg_payload BYTES",
        "thalweg_key BYTES",
        *metadata,
        *(
            f"{name} AS CAST({read[key]} AS {sql_type})"
            if key in read
            else f"{name} {sql_type} METADATA FROM '{key}' VIRTUAL"
            for name, sql_type, key in _RECORD
        ),
    ]
    dropped = ("format", "value.format", f"{source.format}.", f"value.{source.format}.")
    options = {k: v for k, v in source.options.items() if k not in dropped and not k.startswith(dropped[2:])}
    options |= {
        "key.format": "raw",
        "key.fields": "thalweg_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    settings = ", ".join(f"{quote_text(key)} = {quote_text(value)}" for key, value in sorted(options.items()))
    ddl = f"CREATE TEMPORARY TABLE {quote_name(name)} ({', '.join(columns)}{watermark}) WITH ({settings})"
    return ddl, physical, expressions


def _time(column: str | None, types: dict[str, str], attribute: str | None) -> tuple[str, str]:
    """Return the expressions for the time of a row, and for whether it is late."""
    if column is None:
        return "UNIX_TIMESTAMP() * 1000", "FALSE"
    time = quote_name(column) if types[column].startswith("BIGINT") else epoch_ms(column, "LTZ" in types[column])
    late = "FALSE"
    if attribute is not None:
        late = f"COALESCE({quote_name(attribute)} <= CURRENT_WATERMARK({quote_name(attribute)}), FALSE)"
    return f"COALESCE({time}, UNIX_TIMESTAMP() * 1000)", late


def _sort(column: Any) -> str:
    return str(column.getClass().getSimpleName())


def _type_text(column: Any) -> str:
    return str(column.getDataType().getLogicalType().asSerializableString())


def _plain(sql_type: str) -> bool:
    base = sql_type.upper().partition("(")[0].removesuffix(" NOT NULL").strip()
    return base in _PLAIN or (base.startswith("ARRAY<") and base[6:].rstrip(">").partition("(")[0].split()[0] in _PLAIN)
