"""A ``CREATE MODEL`` statement, checked and turned into plain data."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.cadence_options import check_cadence
from thalweg.udfs.logic.key_options import KeyOptions, check_keys
from thalweg.udfs.logic.options import EVERY_EVENT, OPTIONS, Every
from thalweg.udfs.logic.retraining import Cadence
from thalweg.udfs.logic.scorecard import Watch
from thalweg.udfs.logic.upkeep import Policy
from thalweg.udfs.logic.warm_source import WarmSource, check_revive
from thalweg.udfs.logic.watch_options import check_watch

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

_NUMERIC_TASKS = ("regression", "forecasting", "recommendation")


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
    label_default: str | None
    cadence: Every
    retrain: str
    replay_size: int
    replay_ratio: float
    update_gate: float | None
    buffer_size: int
    snapshot_every: Every
    on_drift: str
    max_model_size: int
    on_max_model_size: str
    on_spec_change: str
    prior: str
    prior_strength: int
    warm_start: WarmSource | None
    state_ttl: int | None
    revive: str
    replay: str
    shards: int
    metrics: tuple[str, ...]
    metrics_every: Every
    metrics_window: int
    watch: Watch
    keys: KeyOptions
    reference_table: str | None
    reference_label: str | None
    old_examples: int
    evaluate_every: int
    on_malformed: str
    model_version: str | None

    def policy(self) -> Policy:
        """Return how the models of this declaration are kept."""
        return Policy(
            self.snapshot_every,
            self.max_model_size,
            self.on_max_model_size,
            self.prior_strength if self.prior == "global" else None,
            self.on_spec_change,
            self._cadence(),
            self.on_drift,
            self.replay == "score",
        )

    def _cadence(self) -> Cadence | None:
        if self.cadence == EVERY_EVENT:
            return None
        events, time_ms, drift = self.cadence
        stateful = self.retrain == "stateful"
        sizes = (self.replay_size, self.replay_ratio, self.buffer_size)
        return Cadence(events, time_ms, drift, stateful, *sizes, self.update_gate)


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
    if task in _NUMERIC_TASKS and output.kind not in ("number", "integer"):
        wrong("task", f"{task} predicts a number, but the OUTPUT is {output.kind}.", "Declare OUTPUT (... DOUBLE).")
    _check_default(values["label-default"], output, wrong)
    _check_prior(options, values, task, wrong)
    check_revive(name, values, wrong)
    check_cadence(options, values, wrong)
    keys = check_keys(options, values, wrong)
    watch = check_watch(options, values, task, output.kind, wrong, fields)
    if problems:
        raise ConfigError(problems)

    params = tuple(sorted((option, options[option]) for option in engine_options if option in options))
    spec = EngineSpec(values["provider"], task, values["model"], fields, output, params)
    return Declaration(
        name=name,
        spec=spec,
        learns=learns,
        watch=watch,
        keys=keys,
        sql_types=dict(inputs),
        key=values["key"] or (),
        label_event_id=values["label-event-id"] or values["event-id"],
        **{
            field: values[field.replace("_", "-")]
            for field in (
                "input_table", "event_id", "event_time", "label", "label_table", "label_timeout", "order",
                "label_default", "cadence", "retrain", "replay_size", "replay_ratio", "update_gate", "buffer_size",
                "snapshot_every", "on_drift", "max_model_size", "on_max_model_size", "on_spec_change", "prior",
                "prior_strength", "warm_start", "state_ttl", "revive", "replay", "shards", "metrics", "metrics_every",
                "metrics_window", "reference_table", "reference_label", "old_examples", "evaluate_every",
                "on_malformed", "model_version",
            )
        },
    )  # fmt: skip


def _check_labels(options: Mapping[str, str], values: Mapping[str, Any], learns: bool, wrong: Any) -> None:
    """Hold the label options against each other."""
    unsupervised = values["task"] in ("anomaly", "clustering", "next-item")
    if values["task"] == "next-item" and values["label"] is not None:
        wrong("label", "is given, and next-item has none: each event is the truth for those before it.", "Remove it.")
    if learns and values["label"] is None and not unsupervised:
        wrong("label", "is missing: a model that learns needs the truth.", f"It is {OPTIONS['label'].meaning}.")
    if values["label"] is None:
        for option in ("label-table", "label-event-id", "label-timeout", "label-default"):
            if option in options:
                wrong(option, "is given without 'label'.", "Name the label column in 'label', or remove it.")
    elif values["label-table"] is None:
        for option in ("label-event-id", "label-timeout", "label-default"):
            if option in options:
                wrong(option, "is given without 'label-table'.", "The label is in the input table: remove it.")


def _check_default(default: str | None, output: Field, wrong: Any) -> None:
    """Hold the label of events that get none against the OUTPUT."""
    if default is None or output.kind == "string":
        return
    if output.kind == "boolean":
        if default not in ("true", "false"):
            wrong("label-default", f"'{default}' is not a BOOLEAN.", "Give true or false.")
        return
    pattern = r"[+-]?\d{1,18}" if output.kind == "integer" else r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"
    if re.fullmatch(pattern, default) is None:
        wrong("label-default", f"'{default}' is not a number as '{output.name}' is.", "Give one, such as 0.")


def _check_prior(options: Mapping[str, str], values: Mapping[str, Any], task: str, wrong: Any) -> None:
    """Hold the options of the prior against each other and the task."""
    if values["prior"] == "none":
        if "prior-strength" in options:
            wrong("prior-strength", "is given without a prior.", "Add 'prior' = 'global', or remove it.")
        return
    if task not in ("classification", "regression"):
        wrong("prior", f"there is none for {task}: answers of two models cannot be blended.", "Remove it.")
    if not values["key"]:
        wrong("prior", "is given without 'key': the one model is shared by all as it is.", "Remove it, or give a key.")


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
