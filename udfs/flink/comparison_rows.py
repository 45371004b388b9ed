"""The rows that a comparison reads: the queries that give them, and what the machine is to see of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from thalweg.connector.ddl import quote_text
from thalweg.udfs.flink.statements import NO_TEXT
from thalweg.udfs.logic.comparison import ANSWER, COMMAND, OUTCOME
from thalweg.udfs.logic.evaluation import DEFAULTED, MATCHED, OVERTAKEN, TOGETHER

__all__ = ["KINDS", "Carried", "answer_rows", "command_rows", "machine_columns", "outcome_rows"]

KINDS = (
    "integer", "integer", "string", "string", "integer", "integer", "number", "string", "string", "string", "string",
    "string", "string", "integer", "string", "number", "integer",
)  # fmt: skip
"""Kinds of a block's columns: kind, arm, event id, what the event carries, event ms, row ms, score, label,
probabilities as JSON, truth, status; of an answer its key, reason, learned and model version; and of the first one of a
block how long the block took in ms, and how many answers waited for it."""

_NAMES = (
    "kind", "arm", "event_id", "carried", "event_ms", "row_ms", "score", "label", "detail", "truth", "status", "`key`",
    "reason", "learned", "model_version", "block_ms", "block_rows",
)  # fmt: skip
_EVENT, _CARRIED, _TRUTH, _STATUS, _BLOCK = 2, 3, 9, 10, 15
_OUTCOMES = ", ".join(map(str, (MATCHED, OVERTAKEN, TOGETHER, DEFAULTED)))
_NO_NUMBER, _NO_LONG = "CAST(NULL AS DOUBLE)", "CAST(NULL AS BIGINT)"


class Carried(NamedTuple):
    """Where the values that a comparison needs stand in the JSON array of a model's answers.

    Attributes
    ----------
    unit : int or None
        That of the unit; None, the event id is the unit.
    slices : tuple of int
        Those of the slices.
    rewards : tuple of int or None
        Those of reward and base; None where they stand behind the truth, or there are none.
    unlabelled : float or None
        Reward of an event whose label did not come in time and is taken as its default.
    """

    unit: int | None
    slices: tuple[int, ...]
    rewards: tuple[int, ...] | None
    unlabelled: float | None = None


def answer_rows(arm: int, answers: str, carried: bool) -> str:
    """Return the query of a model's answers; ``carried``, whether they have the column ``slices``."""
    values = (
        ANSWER, arm, "event_id", "slices" if carried else NO_TEXT, "event_time_ms", "event_time_ms", "score", "label",
        "JSON_STRING(probabilities)", NO_TEXT, "status", "`key`", "reason", "learned", "model_version", "block_ms",
        "block_rows",
    )  # fmt: skip
    return _select(values, answers)


def outcome_rows(arm: int, outcomes: str, carried: bool) -> str:
    """Return the query of a model's outcomes, given that of ``labelled_answers``; the first outcome of an event counts.

    Where no label came in time and a default stands in, a later label changes nothing here.
    """
    values = (
        OUTCOME, arm, "event_id", "slices" if carried else NO_TEXT, "event_ms", "row_ms", "score", "predicted",
        "detail", "truth", NO_TEXT, NO_TEXT, NO_TEXT, _NO_LONG, NO_TEXT, _NO_NUMBER, _NO_LONG,
    )  # fmt: skip
    return f"{_select(values, f'({outcomes})')} WHERE kind IN ({_OUTCOMES})"


def command_rows(name: str, table: str) -> str:
    """Return the query of people's orders to the comparison ``name``."""
    told = ("argument", "issued_by", "reason", "issued_ms")
    detail = f"JSON_OBJECT({', '.join(quote_text(field) + ' VALUE ' + field for field in told)})"
    values = (
        COMMAND, 0, "''", NO_TEXT, "issued_ms", "issued_ms", _NO_NUMBER, "command", detail, NO_TEXT, NO_TEXT, NO_TEXT,
        NO_TEXT, _NO_LONG, NO_TEXT, _NO_NUMBER, _NO_LONG,
    )  # fmt: skip
    return f"{_select(values, table)} WHERE model = {quote_text(name)}"


def _select(values: Sequence[object], source: str) -> str:
    return f"SELECT {', '.join(f'{value} AS {name}' for value, name in zip(values, _NAMES, strict=True))} FROM {source}"


def machine_columns(columns: Sequence[list[Any]], layout: Sequence[Carried]) -> list[list[Any]]:
    """Return the columns of ``Comparison.on_rows``, then key, reason, learned, version and event id, from 16 on.

    Events of one id and one time are told apart by their place among them, so that each is served.

    Parameters
    ----------
    columns : sequence of lists
        Of the kinds of ``KINDS``, in order.
    layout : sequence of Carried
        Of each arm.

    Examples
    --------
    >>> row = [ANSWER, 0, "e1", '["UA","u7"]', 5, 5, 0.5, "true", None, None, "ok", "", "", 3, "3", 1.5, 2]
    >>> seen = machine_columns([[value] for value in row], [Carried(1, (0,), None)])
    >>> seen[2:4], seen[11:13], seen[15:]
    ([['e1'], ['u7']], [['["UA"]'], [1.5]], [[2], [''], [''], [3], ['3'], ['e1']])
    """
    columns = _each_event_for_itself([*columns, list(columns[_EVENT])])
    units: list[str | None] = []
    slices: list[str | None] = []
    rewards: list[float | None] = []
    bases: list[float | None] = []
    truths = list(columns[_TRUTH])
    rows = zip(columns[0], columns[1], columns[-1], columns[_CARRIED], columns[_TRUTH], strict=True)
    for at, (kind, arm, event, carried, truth) in enumerate(rows):
        place = layout[arm]
        values = None if carried is None or kind == COMMAND else json.loads(carried)
        if event is None or kind == COMMAND:
            units.append(None)  # nothing tells which answers belong together: all such events have one unit
        else:
            units.append(event if place.unit is None else None if values is None else values[place.unit])
        slices.append(_picked(values, place.slices) if place.slices else None)
        pair = [] if values is None or place.rewards is None else [values[found] for found in place.rewards]
        if truth is not None and "\x1f" in truth:
            truths[at], _, beside = truth.rpartition("\x1f")
            pair = json.loads(beside) or [None]
        rewards.append(_number(pair[0]) if pair else None if truth is None else place.unlabelled)
        bases.append(_number(pair[1]) if len(pair) > 1 else None)
    head = [*columns[:_CARRIED], units, *columns[_CARRIED + 1 : _TRUTH], truths, columns[_STATUS], slices]
    answer, block_ms, block_rows = columns[_STATUS + 1 : _BLOCK], columns[_BLOCK], columns[_BLOCK + 1]
    return [*head, block_ms, rewards, bases, block_rows, *answer, *columns[_BLOCK + 2 :]]


def _each_event_for_itself(columns: list[list[Any]]) -> list[list[Any]]:
    """Put the answers of each event side by side where events share id and time, and make their ids differ."""
    kinds, arms, ids, _, times = columns[:5]
    groups: dict[tuple[Any, Any], dict[int, int]] = {}
    turns, again = [], False
    for kind, arm, event, time in zip(kinds, arms, ids, times, strict=True):
        if kind != ANSWER:
            turns.append(0)
            continue
        counts = groups.setdefault((event, time), {})
        turn = counts.get(arm, 0)
        counts[arm] = turn + 1
        turns.append(turn)
        again = again or turn > 0
    if not again:
        return columns
    first: dict[tuple[Any, Any], int] = {}
    for at, (kind, event, time) in enumerate(zip(kinds, ids, times, strict=True)):
        if kind == ANSWER:
            first.setdefault((event, time), at)
    order = sorted(
        range(len(kinds)),
        key=lambda at: (first.get((ids[at], times[at]), at) if kinds[at] == ANSWER else at, turns[at], arms[at]),
    )
    columns = [[column[at] for at in order] for column in columns]
    columns[_EVENT] = [
        f"{event or ''}\x1f{turns[at]}" if turns[at] else event
        for event, at in zip(columns[_EVENT], order, strict=True)
    ]
    return columns


def _picked(values: list[Any] | None, places: Sequence[int]) -> str | None:
    return None if values is None else json.dumps([values[at] for at in places], separators=(",", ":"))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
