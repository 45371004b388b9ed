"""A ``CREATE MODEL`` statement, checked and turned into plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.metrics import default_metrics, unknown_metrics
from thalweg.udfs.logic.options import OPTIONS, Every

__all__ = ["Declaration", "declare", "field_kind"]

_KINDS = {
    "TINYINT": "integer",
    "SMALLINT": "integer",
    "INTEGER": "integer",
    "INT": "integer",
    "BIGINT": "integer",
    "FLOAT": "number",
    "DOUBLE": "number",
    "DECIMAL": "number",
    "BOOLEAN": "boolean",
    "CHAR": "string",
    "VARCHAR": "string",
    "STRING": "string",
}


@dataclass(frozen=True)
class Declaration:
    """What one model does in a job; every field has been checked.

    Attributes
    ----------
    name : str
        Name of the model, and prefix of its views.
    spec : EngineSpec
        How to build it.
    learns : bool
        Whether the engine learns from labels.
    sql_types : dict of str to str
        SQL type of each feature, by name.
    key, event_id, label, ... :
        The options of ``options.OPTIONS``, with underscores; None where an option has no value.
    """

    name: str
    spec: EngineSpec
    learns: bool
    sql_types: Mapping[str, str]
    input_table: str
    event_id: str
    key: tuple[str, ...]
    event_time: str | None
    label: str | None
    label_table: str | None
    label_event_id: str
    label_timeout: int
    order: str | None
    snapshot_every: Every
    max_model_size: int
    state_ttl: int | None
    shards: int
    metrics: tuple[str, ...]
    metrics_every: Every
    metrics_window: int
    on_malformed: str
    model_version: str | None


def field_kind(name: str, sql_type: str) -> str:
    """Return the kind of a feature or label with this SQL type.

    Raises
    ------
    ValueError
        No model takes that type.

    Examples
    --------
    >>> field_kind("amount", "DECIMAL(10, 2)"), field_kind("v", "ARRAY<FLOAT>")
    ('number', 'vector')
    """
    plain = sql_type.upper().replace(" NOT NULL", "").strip()
    base = plain.partition("(")[0].strip()
    if base in _KINDS:
        return _KINDS[base]
    if plain.replace(" ", "") in ("ARRAY<FLOAT>", "ARRAY<DOUBLE>"):
        return "vector"
    raise ValueError(
        f"column '{name}' has type {sql_type}, which no model takes. Cast it in a view to a number, BOOLEAN, STRING or "
        "ARRAY<DOUBLE>; a time for instance with EXTRACT(HOUR FROM ...)."
    )


def declare(
    name: str,
    inputs: Sequence[tuple[str, str]],
    outputs: Sequence[tuple[str, str]],
    options: Mapping[str, str],
    engine_options: Collection[str],
    learns: bool,
) -> Declaration:
    """Check a model declaration and return it as plain data.

    Parameters
    ----------
    name : str
        Name of the model.
    inputs, outputs : sequence of (column, SQL type)
        The INPUT and OUTPUT clauses.
    options : mapping of str to str
        The WITH clause.
    engine_options : collection of str
        Options that the engine reads itself.
    learns : bool
        Whether the engine is a Learner.

    Raises
    ------
    ConfigError
        Lists everything that is wrong, not only the first.
    """
    problems: list[Problem] = []

    def wrong(option: str, what: str, remedy: str) -> None:
        problems.append(Problem(f"model {name}, option '{option}'", what, remedy))

    values: dict[str, Any] = {}
    for option, entry in OPTIONS.items():
        text = options.get(option, entry.default)
        try:
            values[option] = None if text is None else entry.read(text)
        except ValueError as error:
            wrong(option, str(error), f"It is {entry.meaning}.")
            values[option] = None if entry.default is None else entry.read(entry.default)
        if entry.learners_only and not learns and option in options:
            wrong(option, f"the engine '{options.get('provider')}' does not learn.", "Remove it.")
    known = {*OPTIONS, *engine_options}
    for option in sorted(set(options) - known):
        near = get_close_matches(option, known, 1)
        wrong(
            option, "unknown option.", f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(known))}."
        )
    for option in ("provider", "model", "input-table", "event-id"):
        if option not in options:
            wrong(option, "is missing.", f"It is {OPTIONS[option].meaning}.")
    _check_labels(options, values, learns, wrong)

    fields, output = _fields(name, inputs, outputs, problems)
    task = values["task"] or ("classification" if output.kind in ("boolean", "string") else "regression")
    if task == "regression" and output.kind not in ("number", "integer"):
        wrong("task", f"regression predicts a number, but the OUTPUT is {output.kind}.", "Declare OUTPUT (... DOUBLE).")
    if values["metrics"] is None:
        values["metrics"] = default_metrics(task, output.kind)
    for metric in unknown_metrics(task, values["metrics"]):
        wrong(
            "metrics",
            f"'{metric}' is not a metric of {task}.",
            f"Known: {', '.join(default_metrics(task, output.kind))}.",
        )
    if problems:
        raise ConfigError(problems)

    params = tuple(sorted((option, options[option]) for option in engine_options if option in options))
    spec = EngineSpec(values["provider"], task, values["model"], fields, output, params)
    return Declaration(
        name=name,
        spec=spec,
        learns=learns,
        sql_types=dict(inputs),
        key=values["key"] or (),
        label_event_id=values["label-event-id"] or values["event-id"],
        **{
            field: values[field.replace("_", "-")]
            for field in (
                "input_table", "event_id", "event_time", "label", "label_table", "label_timeout", "order",
                "snapshot_every", "max_model_size", "state_ttl", "shards", "metrics", "metrics_every",
                "metrics_window", "on_malformed", "model_version",
            )
        },
    )  # fmt: skip


def _check_labels(options: Mapping[str, str], values: Mapping[str, Any], learns: bool, wrong: Any) -> None:
    """Hold the label options against each other."""
    unsupervised = values["task"] in ("anomaly", "clustering")
    if learns and values["label"] is None and not unsupervised:
        wrong("label", "is missing: a model that learns needs the truth.", f"It is {OPTIONS['label'].meaning}.")
    if values["label"] is None:
        for option in ("label-table", "label-event-id", "label-timeout"):
            if option in options:
                wrong(option, "is given without 'label'.", "Name the label column in 'label', or remove it.")
    elif values["label-table"] is None:
        for option in ("label-event-id", "label-timeout"):
            if option in options:
                wrong(option, "is given without 'label-table'.", "The label is in the input table: remove it.")


def _fields(
    name: str, inputs: Sequence[tuple[str, str]], outputs: Sequence[tuple[str, str]], problems: list[Problem]
) -> tuple[tuple[Field, ...], Field]:
    """Return the input fields and the output field; what is wrong goes into ``problems``."""
    fields: list[Field] = []
    for clause, columns in (("INPUT", inputs), ("OUTPUT", outputs)):
        for column, sql_type in columns:
            try:
                fields.append(Field(column, field_kind(column, sql_type)))
            except ValueError as error:
                problems.append(Problem(f"model {name}, {clause}", str(error), ""))
                fields.append(Field(column, "number"))
    if not inputs:
        problems.append(Problem(f"model {name}, INPUT", "there is no feature.", "Declare INPUT (column TYPE, ...)."))
    if len(outputs) != 1:
        problems.append(
            Problem(
                f"model {name}, OUTPUT", f"has {len(outputs)} columns.", "Declare the one column that is predicted."
            )
        )
    return tuple(fields[: len(inputs)]), (fields[len(inputs)] if outputs else Field("label", "number"))
