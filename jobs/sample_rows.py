"""Labelled rows to measure a model with: made up from its declaration, or a customer's own from JSON lines."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

from thalweg.connector.errors import ConfigError, Problem, RecordError
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.gate import usable
from thalweg.udfs.logic.declaration import Declaration

__all__ = ["START_MS", "STEP_MS", "SampleRow", "sample_rows"]

START_MS, STEP_MS = 1_700_000_000_000, 1_000
"""When the first row is, epoch ms, and how far the next ones are apart."""

_WORDS = 50  # different texts in a made-up column
_WIDTH = 16  # numbers in a made-up vector
_TIME = re.compile(r"(?:^|_)(?:ts|time|timestamp|epoch|ms|millis)$", re.IGNORECASE)
_NAME = re.compile(r"(?:^|_)(?:id|uuid)$", re.IGNORECASE)


class SampleRow(NamedTuple):
    """One event: its features in the order of the declaration, and the truth; None for a model without labels."""

    values: tuple[Any, ...]
    label: Any


def sample_rows(declaration: Declaration, count: int, example: Path | None = None) -> list[SampleRow]:
    """Return ``count`` rows, the same in each run.

    A made-up number is even between 0 and 1, an integer below 100; a text is one of 50, or different in each row where
    the column is named as an identifier; an integer named as a time is the row's time in epoch ms. The label follows
    from the first features, so that trees find something to split.

    Parameters
    ----------
    declaration : Declaration
        The model.
    count : int
        How many; a shorter file is taken again from its beginning.
    example : path, optional
        One JSON object per line, with the model's inputs and its label by their names; a value that is missing is null,
        a label that is missing is made up.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds a value that is not of its column's type; lists the first ten.
    """
    pick = random.Random(declaration.name)  # noqa: S311  the same rows each time
    labelled = declaration.label is not None
    if example is None:
        rows = [_made_up(declaration, at, pick) for at in range(count)]
    else:
        rows = list(islice(cycle(_read(declaration, example, count)), count))
    return [
        SampleRow(values, label if label is not None or not labelled else _label(declaration.spec.output, values, pick))
        for values, label in rows
    ]


def _made_up(declaration: Declaration, at: int, pick: random.Random) -> tuple[tuple[Any, ...], Any]:
    values = [_value(field, at, pick) for field in declaration.spec.inputs]
    if declaration.spec.task == "bandit":
        # The first input is the arm, and only those that are named can be learned.
        arms = [arm.strip() for arm in declaration.spec.param("arms", "").split(",")]
        arm = pick.choice(arms)
        values[0] = int(arm) if declaration.spec.inputs[0].kind == "integer" and arm.lstrip("-").isdigit() else arm
    return tuple(values), None


def _value(field: Field, at: int, pick: random.Random) -> Any:
    if field.kind == "boolean":
        return pick.random() < 0.5
    if field.kind == "string":
        return f"{field.name}-{at}" if _NAME.search(field.name) else f"value-{pick.randrange(_WORDS)}"
    if field.kind == "vector":
        return [pick.random() for _ in range(_WIDTH)]
    if field.kind == "integer":
        return START_MS + at * STEP_MS if _TIME.search(field.name) else pick.randrange(100)
    return pick.random()


def _label(output: Field, values: Sequence[Any], pick: random.Random) -> Any:
    weight = pick.random()
    for at, value in enumerate(values[:3]):
        weight += (_fraction(value) - 0.5) * (at + 1)
    if output.kind == "boolean":
        return weight > 0.5
    if output.kind == "string":
        return "abc"[0 if weight < 0.2 else 1 if weight < 0.8 else 2]
    return round(weight) if output.kind == "integer" else weight


def _fraction(value: Any) -> float:
    """Return a number between 0 and 1 that follows from a value, the same in every process."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        return sum(value.encode()) % 100 / 100
    if isinstance(value, (int, float)):
        return abs(value) % 100 / 100 if abs(value) > 1 else abs(value)
    return 0.5


def _read(declaration: Declaration, example: Path, count: int) -> list[tuple[tuple[Any, ...], Any]]:
    try:
        with example.open(encoding="utf-8") as file:
            lines = list(islice(file, count + 1000))  # some may be empty; a whole year need not be read
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read ({error})."
        raise ConfigError([Problem(f"--example {example}", what, "Name a file of JSON lines in UTF-8.")]) from error
    fields = declaration.spec.inputs
    truth = declaration.spec.output._replace(name=declaration.label or declaration.spec.output.name)
    rows: list[tuple[tuple[Any, ...], Any]] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or len(problems) >= 10:
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
            label = None if declaration.label is None else _cell(truth, record)
            rows.append((tuple(_cell(field, record) for field in fields), label))
        except (ValueError, RecursionError, RecordError) as error:
            remedy = f"Write one JSON object per line with {', '.join(field.name for field in fields)}."
            problems.append(Problem(f"{example}:{number}", f"{error}.", remedy))
    if not rows and not problems:
        problems.append(Problem(f"--example {example}", "has no rows.", "Give at least one."))
    if problems:
        raise ConfigError(problems)
    return rows


def _cell(field: Field, record: dict[str, Any]) -> Any:
    value = record.get(field.name)
    if value is None:
        return None
    if field.kind == "vector":
        if not isinstance(value, list):
            raise RecordError(f"'{field.name}' is no list of numbers")
        return [usable(field.name, "number", number) for number in value]
    return usable(field.name, field.kind, value)
