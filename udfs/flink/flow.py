"""Builds the flow of one model inside a table program: the views ``<model>_predictions``, ``_metrics``, and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from pyflink.datastream import DataStream
from pyflink.datastream.data_stream import KeyedStream
from pyflink.table import Schema, StreamTableEnvironment
from thalweg.connector.ddl import quote_name, quote_text
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.flink.evaluation_views import alerts_query, decisions_query, metrics_query, slice_values
from thalweg.udfs.flink.functions import score_function
from thalweg.udfs.flink.input_notes import note_queries
from thalweg.udfs.flink.keyed_blocks import keyed_blocks
from thalweg.udfs.flink.labelled_answers import LATE_ANSWER, labelled_answers
from thalweg.udfs.flink.learning_rows import learning_rows, untagged
from thalweg.udfs.flink.model_views import create_model_view
from thalweg.udfs.flink.operators import (
    ANSWER_TYPES,
    BLOCK_TYPES,
    EXTRA_TYPES,
    EvaluationOperator,
    LearningOperator,
    learning_type,
    metric_type,
)
from thalweg.udfs.flink.reference_rows import reference_rows
from thalweg.udfs.flink.statements import Column, Default, deferred, model_key, transport
from thalweg.udfs.flink.tables import Prepared, TableReader
from thalweg.udfs.flink.task_columns import task_columns
from thalweg.udfs.logic.arm_guard import ArmRole
from thalweg.udfs.logic.declaration import Declaration, field_kind
from thalweg.udfs.logic.learning import learning_kinds
from thalweg.udfs.logic.outcomes import outcome_kinds

__all__ = ["Built", "build_flow"]


class Built(NamedTuple):
    """What a comparison reads of a model's flow.

    Attributes
    ----------
    answers : str
        The view with the answers.
    carried : tuple of str
        Columns whose values each answer has in its JSON array ``slices``, which is there if there are any.
    outcomes : callable or None
        Columns of the labels to the query of ``labelled_answers`` with ``carried``; None for a model without labels.
    timed : bool
        Whether the rows have a time that a watermark passes.
    """

    answers: str
    carried: tuple[str, ...]
    outcomes: Callable[[Sequence[str]], str] | None
    timed: bool


def build_flow(
    t_env: StreamTableEnvironment,
    declaration: Declaration,
    reader: TableReader,
    role: ArmRole | None = None,
) -> Built:
    """Create the views of one model; nothing runs until a statement uses them.

    Parameters
    ----------
    t_env, declaration, reader :
        Where it is built, and from what.
    role : ArmRole, optional
        What it is in comparisons; the columns that these need go with each answer behind the values of its slices.

    Raises
    ------
    ConfigError
        The declaration does not fit the tables; lists every offender.
    """
    return _Flow(t_env, declaration, reader, role).build()


class _Flow:
    def __init__(
        self, t_env: StreamTableEnvironment, declaration: Declaration, reader: TableReader, role: ArmRole | None
    ) -> None:
        self._t_env, self._d, self._reader, self._role = t_env, declaration, reader, role
        d = declaration
        self._carried = tuple(dict.fromkeys((*d.watch.slices, *(role.carried if role else ()))))
        where = f"model {d.name}"
        self._events = reader.prepare(d.input_table, d.event_time, d.on_malformed, f"{where}, option 'input-table'")
        self._labels = (
            None
            if d.label_table is None
            else reader.prepare(d.label_table, None, d.on_malformed, f"{where}, option 'label-table'")
        )
        self._prefix = f"thalweg_{d.name}"
        timed = self._events.timed and (self._labels is None or self._labels.timed)
        if d.order == "event-time" and not timed:
            table = d.input_table if not self._events.timed else d.label_table
            what = f"'event-time' needs a watermark, and table '{table}' has none."
            raise ConfigError(
                [Problem(f"{where}, option 'order'", what, "Declare WATERMARK FOR ..., or use 'arrival'.")]
            )
        self._batch = t_env.get_config().get("execution.runtime-mode", "").upper() == "BATCH"
        if self._batch and not timed and d.order is None:
            what = "in batch mode only a table that declares a watermark itself has a time, not a view on one."
            remedy = "Name the tables themselves, with computed columns instead of a view, or set 'order' = 'arrival'."
            raise ConfigError([Problem(f"{where}, option 'order'", what, remedy)])
        self._time = "thalweg_time" if timed and d.order != "arrival" else None
        if d.label_default is not None and self._time is None:
            what = "the end of an event's time is known by a watermark, and rows are taken in the order of arrival."
            remedy = "Declare WATERMARK FOR in both tables and leave 'order' at 'event-time', or remove it."
            raise ConfigError([Problem(f"{where}, option 'label-default'", what, remedy)])

    def build(self) -> Built:
        key, features, label = self._columns()
        if self._d.learns:
            self._learning(key, features, label)
        else:
            self._scoring(key, features, label)
        if label is not None or self._d.watch.attention.inputs:
            self._evaluation(label, features)
        for suffix, told in (("alerts", alerts_query), ("decisions", decisions_query)):
            if query := told(self._d, self._prefix):
                self._view(suffix, query)
        outcomes = None if label is None else partial(self._labelled, label, bool(self._carried))
        return Built(f"{self._prefix}_answers", self._carried, outcomes, self._time is not None)

    def _columns(self) -> tuple[list[Column], list[Column], Column | None]:
        """Return the columns that the model reads, checked against the tables."""
        d, problems = self._d, []
        labels, label_table = (self._events, d.input_table) if self._labels is None else (self._labels, d.label_table)

        def column(table: Prepared, name: str, table_name: str | None, where: str, kind: str | None) -> Column:
            # In a union with rows that lack it no column is never null, and no cast names such a type.
            sql_type = table.types.get(name, "").removesuffix(" NOT NULL")
            if not sql_type:
                what, has = f"table '{table_name}' has no column '{name}'.", ", ".join(table.types)
                problems.append(Problem(f"model {d.name}, {where}", what, f"It has {has}."))
                return Column(name, "number", "DOUBLE")
            try:
                found = field_kind(name, sql_type)
            except ValueError as error:
                if where == "option 'key'" and sql_type.startswith(("DATE", "TIME")):
                    return Column(name, "string", sql_type)
                problems.append(Problem(f"model {d.name}, {where}", str(error), ""))
                return Column(name, "number", "DOUBLE")
            if kind is not None and not _fits(found, kind):
                what = f"column '{name}' of table '{table_name}' is {sql_type}, but the model declares {kind}."
                problems.append(
                    Problem(f"model {d.name}, {where}", what, "Cast it in a view, or declare the model so.")
                )
            return Column(name, kind or found, sql_type)

        key = [column(self._events, name, d.input_table, "option 'key'", None) for name in d.key]
        features = [column(self._events, name, d.input_table, "INPUT", kind) for name, kind in d.spec.inputs]
        column(self._events, d.event_id, d.input_table, "option 'event-id'", None)
        for name in self._carried:
            where = "option 'slices'" if name in d.watch.slices else "as it is compared"
            column(self._events, name, d.input_table, where, None)
        label = None
        if d.label is not None:
            label = column(labels, d.label, label_table, "option 'label'", d.spec.output.kind)
            column(labels, d.label_event_id, label_table, "option 'label-event-id'", None)
        if problems:
            raise ConfigError(problems)
        return key, features, label

    def _learning(self, key: Sequence[Column], features: Sequence[Column], label: Column | None) -> None:
        d, env = self._d, self._t_env
        query = learning_rows(
            self._events.view, None if self._labels is None else self._labels.view, key, features, label,
            d.event_id, d.label_event_id, d.label_timeout, self._time,
            self._default("unlabelled", self._events.view, d.event_id, "thalweg_ms", "NOT thalweg_late"),
            slice_values(self._carried),
        )  # fmt: skip
        if d.reference_label is not None and label is not None:
            query += f" UNION ALL {reference_rows(env, d, self._reader, key, features, label)}"
        stream = self._keyed(query, learning_kinds(d.spec), 1 if key else None, d.shards if key else 1, "learn")
        out = stream.process(LearningOperator(d, self._time is not None, self._role), learning_type(self._role))
        _name(out, f"{d.name}: score and learn", f"thalweg-{d.name}-learning")
        operator = f"{self._prefix}_operator"
        # The rows have no one time, but the watermark must pass: without a time attribute only its end does.
        env.create_temporary_view(operator, env.from_data_stream(out, self._passing("TO_TIMESTAMP_LTZ(0, 3)")))
        answers = {name: f"{operator}.{quote_name(name)}[n]" for name in ANSWER_TYPES if name != "event_time_ms"}
        refused = "t.refusal.event_id"
        if self._carried:
            answers["event_id"], answers["slices"] = untagged(answers["event_id"])
            refused = untagged(refused)[0]
        if self._role is not None:  # told once per block: its first answer has it
            answers |= {name: f"CASE WHEN n = 1 THEN {operator}.{name} END" for name in BLOCK_TYPES}
        columns = ", ".join(f"{sql} AS {quote_name(name)}" for name, sql in answers.items())
        version = quote_text(d.model_version) if d.model_version else f"CAST({operator}.learned[n] AS STRING)"
        self._answers(
            f"SELECT {columns}, ms AS event_time_ms, {version} AS model_version FROM {operator}"
            f" CROSS JOIN UNNEST({operator}.event_time_ms) WITH ORDINALITY AS u(ms, n)"
        )
        snapshot = EXTRA_TYPES["snapshot"]
        picked = ", ".join(f"t.snapshot.{quote_name(name)} AS {quote_name(name)}" for name in snapshot)
        self._view("snapshots", f"SELECT {picked} FROM {operator} t WHERE t.snapshot IS NOT NULL")
        table = d.label_table or d.input_table
        self._view(
            "dead_letters",
            f"SELECT {quote_text(table)} AS topic, -1 AS `partition`, CAST(-1 AS BIGINT) AS `offset`,"
            f" t.refusal.time_ms AS record_time_ms, 'learn' AS stage, {quote_text(d.name)} AS model,"
            f" t.refusal.reason AS reason, ENCODE({refused}, 'UTF-8') AS `key`,"
            f" ENCODE(t.refusal.row_text, 'UTF-8') AS payload, CAST(NULL AS MAP<STRING, BYTES>) AS headers"
            f" FROM {operator} t WHERE t.refusal IS NOT NULL",
        )

    def _default(self, name: str, table: str, event_id: str, ms: str, where: str) -> Default | None:
        """Return the label of events that get none in time, with the view whose rows stand for the end of that time."""
        d, env = self._d, self._t_env
        if d.label_default is None:
            return None
        view = f"{self._prefix}_{name}"
        # These rows are ahead of the watermark by the whole timeout: the window holds them until it has passed them.
        stream = env.to_data_stream(env.sql_query(deferred(table, event_id, ms, where, d.label_timeout)))
        schema = self._passing("TO_TIMESTAMP_LTZ(thalweg_ms, 3)")
        env.create_temporary_view(view, env.from_data_stream(stream, schema))
        return Default(d.label_default, view)

    def _scoring(self, key: Sequence[Column], features: Sequence[Column], label: Column | None) -> None:
        d, env = self._d, self._t_env
        function = f"{self._prefix}_score"
        env.create_temporary_function(function, score_function(d.spec, d.name, self._role))
        by_id = [f"CAST({quote_name(d.event_id)} AS STRING)"] if self._role and self._role.share < 1 else []
        arguments = ", ".join([*(transport(column) for column in features), *by_id])
        truth = "CAST(NULL AS STRING)"
        if label is not None and self._labels is None:
            truth = (
                f"LOWER(CAST({quote_name(label.name)} AS STRING))"
                if label.kind == "boolean"
                else f"CAST({quote_name(label.name)} AS STRING)"
            )
        version = quote_text(d.model_version) if d.model_version else "a.version"
        answer = ("score", "label", "probabilities", "status", "reason", *(BLOCK_TYPES if self._role else ()))
        skipped = " WHERE status IS NOT NULL" if self._role and self._role.skips else ""
        sliced, tag = slice_values(self._carried), ", slices" if self._carried else ""
        query = (
            f"SELECT event_id, `key`, {', '.join(f'a.{name} AS {name}' for name in answer)},"
            f" CAST(0 AS BIGINT) AS learned, truth, event_time_ms{tag},"
            f" {version} AS model_version FROM (SELECT CAST({quote_name(d.event_id)} AS STRING) AS event_id,"
            f" COALESCE({model_key(key)}, '') AS `key`, thalweg_ms AS event_time_ms, {truth} AS truth,"
            f"{f' {sliced} AS slices,' if sliced else ''}"
            f" {function}({arguments}) AS a FROM {self._events.view})"
        )
        self._answers(f"SELECT * FROM ({query}){skipped}" if skipped else query)

    def _answers(self, query: str) -> None:
        """Make the answers a stage of their own, with the time of their events, and the view of predictions on it."""
        env, d = self._t_env, self._d
        answers = f"{self._prefix}_answers"
        stream = env.to_data_stream(env.sql_query(query))
        schema = self._passing("TO_TIMESTAMP_LTZ(event_time_ms, 3)")
        env.create_temporary_view(answers, env.from_data_stream(stream, schema))
        columns = "".join(f", {sql} AS {quote_name(name)}" for name, sql in task_columns(d.spec))
        self._view(
            "predictions",
            f"SELECT {quote_text(d.name)} AS model, model_version, event_id, `key`, event_time_ms, score, label,"
            f" probabilities, status, reason, learned{columns} FROM {answers}",
        )

    def _passing(self, time: str) -> Schema:
        """Return the schema of a stage that lets the watermark pass, with ``time`` as its time attribute."""
        schema = Schema.new_builder()
        if self._time:
            schema = schema.column_by_expression(self._time, time).watermark(self._time, "SOURCE_WATERMARK()")
        return schema.build()

    def _labelled(self, label: Column, sliced: bool, beside: Sequence[str] = ()) -> str:
        d, labels = self._d, self._labels
        for name in beside:
            if labels is not None and name not in labels.types:
                what = f"table '{d.label_table}' has no column '{name}'."
                remedy = f"It has {', '.join(labels.types)}."
                raise ConfigError([Problem(f"model {d.name}, as it is compared", what, remedy)])
        answers, view = f"{self._prefix}_answers", None if labels is None else labels.view
        query = labelled_answers(
            answers, view, label, d.label_event_id, d.label_timeout, self._time, self._unanswered, sliced, beside
        )
        # A batch has no watermark, and nothing is late.
        return query.replace(LATE_ANSWER, "FALSE") if self._batch else query

    def _evaluation(self, label: Column | None, features: Sequence[Column]) -> None:
        d, env = self._d, self._t_env
        answers = f"{self._prefix}_answers"
        self._unanswered = self._default("unanswered", answers, "event_id", "event_time_ms", "event_id IS NOT NULL")
        query = self._labelled(label or Column("", "string", "STRING"), bool(d.watch.slices))
        notes = note_queries(env, d, features, self._events.view, self._reader, self._prefix)
        query = " UNION ALL ".join([query, *notes])
        out = self._keyed(query, outcome_kinds(d.watch.slices), None, 1, "evaluate").process(
            EvaluationOperator(d, self._time is not None), metric_type()
        )
        _name(out, f"{d.name}: evaluate", f"thalweg-{d.name}-evaluation")
        env.create_temporary_view(f"{self._prefix}_evaluation", env.from_data_stream(out))
        self._view("metrics", metrics_query(d, self._prefix))

    def _keyed(self, query: str, kinds: Sequence[str], key_at: int | None, shards: int, stage: str) -> KeyedStream:
        d = self._d
        # A label that corrects the default comes within twice the timeout.
        ttl_ms = (2 if d.label_default is None else 3) * d.label_timeout + 3_600_000
        return keyed_blocks(self._t_env, query, kinds, key_at, shards, f"{self._prefix}_{stage}_pack", ttl_ms)

    def _view(self, suffix: str, query: str) -> None:
        create_model_view(self._t_env, self._d.name, suffix, query)


def _name(stream: DataStream, name: str, uid: str) -> None:
    stream.name(name)
    stream.uid(uid)


def _fits(found: str, declared: str) -> bool:
    return found == declared or {found, declared} <= {"number", "integer"}
