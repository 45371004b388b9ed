"""Known traps in a SQL file: what works, and is not what its author wants. Told by ``thalweg run --dry-run``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from thalweg.connector.errors import ConfigError
from thalweg.jobs.script import Statement
from thalweg.udfs.engines.model_text import parse

__all__ = ["Trap", "traps_of"]

_MODEL = re.compile(r"CREATE\s+(?:TEMPORARY\s+)?MODEL\s+(?:IF\s+NOT\s+EXISTS\s+)?`?(\w+)`?", re.IGNORECASE)
_INPUT = re.compile(r"\bINPUT\s*\(((?:[^()]|\([^()]*\))*)\)", re.IGNORECASE)
_COLUMN = re.compile(r"`?(\w+)`?\s+(\w+)")
_NUMBERS = ("BIGINT", "INT", "INTEGER", "DOUBLE", "FLOAT", "DECIMAL")
# Numbers that only ever grow, or that stand for something they do not measure.
_RAW = re.compile(r"(?:^|_)(?:ts|time|timestamp|epoch|ms|millis|date|id|uuid|number|nr)$", re.IGNORECASE)
_BOUNDLESS = re.compile(r"\b(?:linear_model|facto|neural_net)\.")
_SCALERS = re.compile(r"\bpreprocessing\.(?:\w*Scaler|Normalizer|AdaptiveStandardScaler)\b")
_WHAT = "looks like a raw time or an identifier: it only grows, or measures nothing."
_HOUR = "Take what it means: EXTRACT(HOUR FROM ...), a difference, CAST(... AS STRING) of an identifier."
_EXPLODES = f"{_HOUR} Numbers that large make weights explode: put preprocessing.StandardScaler() first."


class Trap(NamedTuple):
    """One of them.

    Attributes
    ----------
    where : str
        The model, and what of it.
    what : str
        What happens.
    remedy : str
        What to do.
    severe : bool
        Whether the job loses data, stops or crawls where it applies; else it may be meant so.
    """

    where: str
    what: str
    remedy: str
    severe: bool = False


def traps_of(statements: Sequence[Statement]) -> list[Trap]:
    """Return the traps of a script.

    Examples
    --------
    >>> from thalweg.jobs.script import parse_script
    >>> sql = ("CREATE MODEL m INPUT (paid_ms BIGINT) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
    ...        " 'model' = 'linear_model.LogisticRegression()')")
    >>> [trap.where for trap in traps_of(parse_script(sql, "job.sql", {}))]
    ['model m, feature paid_ms', "model m, option 'model'"]
    """
    return [trap for statement in statements for trap in _of_model(statement)]


def _of_model(statement: Statement) -> Iterator[Trap]:
    model, inputs = _MODEL.match(statement.text), _INPUT.search(statement.text)
    if model is None or inputs is None:
        return
    options = statement.options
    provider, declared = options.get("provider", ""), options.get("model", "")
    if provider == "river":
        scaled = _SCALERS.search(declared) is not None
        exploding = not scaled and _BOUNDLESS.search(declared) is not None
        for name, sql_type in _COLUMN.findall(inputs[1]):
            if _RAW.search(name) and sql_type.upper() in _NUMBERS and (exploding or (scaled and sql_type == "BIGINT")):
                yield Trap(f"model {model[1]}, feature {name}", _WHAT, _EXPLODES if exploding else _HOUR, exploding)
        yield from _advised(f"model {model[1]}, option 'model'", declared)
    learns = provider not in ("onnx", "compare", "")
    if learns and options.get("key") and "state-ttl" not in options:
        what = "every key that ever came keeps its model in the job's state, for as long as the job lives."
        yield Trap(f"model {model[1]}, option 'state-ttl'", what, "Give one, such as '30 d', where keys come and go.")


def _advised(where: str, declared: str) -> Iterator[Trap]:
    """Yield what is known of the estimators: half-space trees without limits, encoders and learners without end."""
    try:
        advice = parse(declared).advice
    except ConfigError:
        return  # said where the model is built
    for sentence in advice:
        what, _, remedy = sentence.partition(": ")
        yield Trap(where, f"{what}.", remedy[:1].upper() + remedy[1:])
