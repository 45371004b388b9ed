"""The conformance suite: what a job relies on, held against any engine.

Shipped, because an engine need not be ours: a package names its class in the entry-point group ``thalweg.engines`` and
calls these functions in its own tests.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from thalweg.connector.errors import ConfigError, ModelError, RecordError
from thalweg.udfs.engines import build, engine_class, restore
from thalweg.udfs.engines.base import EngineSpec, Learner, Score, Scorer, Value
from thalweg.udfs.engines.check_blobs import broken_by_blobs

__all__ = ["check_learner", "check_processes", "check_scorer"]

Row = Mapping[str, Value]
Example = tuple[Row, Value]
_UNLABELLED = ("anomaly", "clustering", "next-item")
_STATUSES = ("ok", "not_ready", "refused")
_WRONG: dict[str, tuple[Any, ...]] = {
    "number": (math.nan, math.inf, -math.inf, Decimal("NaN"), "1", True),
    "integer": (math.nan, math.inf, 0.5, "1", True),
    "boolean": (1, 0.0, "true"),
    "string": (1, 1.0, True, b"a"),
    "vector": ("a", [math.nan], [math.inf], 1.0),
}
_MAX_BYTES = 1_000_000


def check_scorer(spec: EngineSpec, rows: Sequence[Row]) -> None:
    """Hold an engine that only scores to the protocol.

    Parameters
    ----------
    spec : EngineSpec
        Names the engine and a model.
    rows : sequence of mapping
        Rows that the model can answer; a dozen will do.

    Raises
    ------
    ModelError
        Lists every promise that is broken, not only the first.
    """
    engine = build(spec)
    _raise(spec, [*_broken_class(spec, engine), *_broken_scores(engine, rows), *_broken_bytes(spec, engine, rows)])


def check_learner(spec: EngineSpec, examples: Sequence[Example], max_bytes: int = _MAX_BYTES) -> None:
    """Hold an engine that learns to the protocol, the part for scorers included.

    Parameters
    ----------
    spec : EngineSpec
        Names the engine and a model.
    examples : sequence of (row, label)
        At least a dozen, after which the model must be able to answer.
    max_bytes : int
        What the model's dump may have after them.

    Raises
    ------
    ModelError
        Lists every promise that is broken, not only the first.
    """
    new = cast("Learner", build(spec))
    rows = [row for row, _ in examples]
    found = [*_broken_class(spec, new), *_broken_start(new, rows), *_broken_bytes(spec, new, rows)]
    learned, answers = _learn(cast("Learner", build(spec)), examples)
    found += _broken_scores(learned, rows[-12:])
    found += _broken_bytes(spec, learned, rows[-12:])
    found += _broken_learning(spec, learned, answers, examples)
    found += _broken_refusals(learned, *examples[-1])
    if len(blob := learned.dump()) > max_bytes:
        found.append(f"the dump has {len(blob)} bytes after {len(examples)} examples, more than {max_bytes}")
    _raise(spec, found)


def check_processes(cases: Iterable[tuple[EngineSpec, Sequence[Example]]]) -> None:
    """Learn every case in other processes, where names hash differently; answers and dumps must be the same.

    Parameters
    ----------
    cases : iterable of (spec, examples)
        The examples of a case with an engine that does not learn are rows with any label.

    Raises
    ------
    ModelError
        Names the models whose answers or dumps differ.
    """
    cases = list(cases)
    wanted = [_digest(spec, examples) for spec, examples in cases]
    text = json.dumps([[spec.to_json(), [[dict(row), label] for row, label in examples]] for spec, examples in cases])
    program = "from thalweg.udfs.engines.checks import _main; _main()"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        ran = subprocess.run(  # noqa: S603  this Python, with a program of ours
            [sys.executable, "-c", program], input=text, env=environment, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise ModelError(f"the check could not run in another process: {ran.stderr[-2000:]}")
        found = json.loads(ran.stdout.splitlines()[-1])
        broken = [s.model for (s, _), a, b in zip(cases, wanted, found, strict=True) if a != b]
        if broken:
            raise ModelError(f"answers or dump differ from process to process: {'; '.join(broken)}")


def _main() -> None:
    cases = [(EngineSpec.from_json(spec), examples) for spec, examples in json.load(sys.stdin)]
    sys.stdout.write("\n" + json.dumps([_digest(spec, examples) for spec, examples in cases]) + "\n")


def _digest(spec: EngineSpec, examples: Iterable[Example]) -> str:
    engine = build(spec)
    if isinstance(engine, Learner):
        engine, answers = _learn(engine, examples)
    else:
        answers = engine.score([row for row, _ in examples])
    return hashlib.sha256(engine.dump() + repr(answers).encode()).hexdigest()


def _raise(spec: EngineSpec, broken: Iterable[str]) -> None:
    if found := list(dict.fromkeys(broken)):
        listed = "\n".join(f"- {promise}" for promise in found)
        raise ModelError(f"engine '{spec.kind}', model '{spec.model[:80]}' breaks the protocol:\n{listed}")


def _learn(engine: Learner, examples: Iterable[Example]) -> tuple[Learner, list[Score]]:
    return engine, [engine.step(row, label) for row, label in examples]


def _broken_class(spec: EngineSpec, engine: Scorer) -> Iterator[str]:
    options = getattr(engine_class(spec.kind), "OPTIONS", None)
    if type(options) is not tuple or not all(type(option) is str for option in options):
        yield "OPTIONS is not a tuple of option names"
    if not isinstance(getattr(engine, "version", None), str):
        yield "version is not a text"
    if engine.spec != spec:
        yield "spec is not the spec it was built from"
    try:
        build(EngineSpec(spec.kind, spec.task, spec.model, spec.inputs, spec.output, (("no-such-option", "1"),)))
    except ConfigError:
        return
    yield "build accepts an option that it does not know"


def _broken_start(new: Learner, rows: Sequence[Row]) -> Iterator[str]:
    if new.learned != 0:
        yield f"a new model says that it has learned {new.learned} examples"
    for score in new.score(rows):
        if score.status != "not_ready" or score.score is not None or score.label is not None:
            yield f"a model that has learned nothing answers {score}, not 'not_ready'"


def _broken_scores(engine: Scorer, rows: Sequence[Row]) -> Iterator[str]:
    kept, before = copy.deepcopy(list(rows)), engine.dump()
    whole = engine.score(rows)
    if len(whole) != len(rows):
        yield f"score gives {len(whole)} answers for {len(rows)} rows"
        return
    if not any(score.status == "ok" for score in whole):
        yield f"not one of the rows is answered: {whole[0].reason if whole else 'there are none'}"
    for score in whole:
        yield from _broken_score(score)
    if whole != [engine.score([row])[0] for row in rows]:
        yield "a batch is not answered as its rows are one by one"
    if whole != engine.score(rows[::-1])[::-1]:
        yield "the answer to a row depends on the rows before it"
    if whole != engine.score([dict(list(row.items())[::-1]) for row in rows]):
        yield "the answer depends on the order of the features in a row"
    if whole != engine.score([{**row, "no such feature": 1.0} for row in rows]):
        yield "the answer depends on a feature that was not declared"
    for name, kind in engine.spec.inputs:
        yield from _broken_odd(engine, rows[0], name, kind, whole[0])
    if list(rows) != kept:
        yield "score changes the rows"
    if engine.dump() != before:
        yield "score changes the model"


def _broken_score(score: Score) -> Iterator[str]:
    numbers = [score.score, *(score.probabilities or {}).values()] if score.status == "ok" else []
    if score.status not in _STATUSES:
        yield f"'{score.status}' is no status"
    elif not all(type(number) is float and math.isfinite(number) for number in numbers):
        yield f"an answer is not made of finite floats: {score}"
    elif score.status != "ok" and (score.score is not None or not score.reason):
        yield f"an answer that is not ok has a score, or no reason: {score}"
    if score.label is not None and type(score.label) is not str:
        yield f"a label is not a text: {score}"


def _broken_odd(engine: Scorer, row: Row, name: str, kind: str, plain: Score) -> Iterator[str]:
    """Yield what is wrong with answers to rows in which one feature is missing, foreign, or never seen."""
    missing = {key: value for key, value in row.items() if key != name}
    null = engine.score([{**row, name: None}])[0]
    odd: list[Row] = [missing, {**row, name: "never seen"}, *({**row, name: value} for value in _WRONG[kind])]
    answers = engine.score(cast("Sequence[Row]", [row, *odd, row]))
    if len(answers) != len(odd) + 2 or answers[0] != plain or answers[-1] != plain:
        yield f"rows that are odd in '{name}' change the answers to others in their batch"
    for score in answers:
        yield from _broken_score(score)
    if answers[1].status != null.status:
        yield f"'{name}' missing is answered otherwise than '{name}' NULL"
    for value, score in zip(_WRONG[kind], answers[3:-1], strict=True):
        same_as_null = isinstance(value, float) and math.isnan(value) and score == null
        if score.status == "ok" and not same_as_null:
            yield f"'{name}' = {value!r} is answered, though it is no {kind}"


def _broken_bytes(spec: EngineSpec, engine: Scorer, rows: Sequence[Row]) -> Iterator[str]:
    blob = engine.dump()
    again = restore(spec, blob)
    if type(blob) is not bytes or engine.dump() != blob:
        yield "dump does not give the same bytes twice"
    if again.dump() != blob:
        yield "what was restored dumps other bytes"
    if again.score(rows) != engine.score(rows):
        yield "what was restored answers otherwise"
    if type(again) is not type(engine) or again.spec != spec:
        yield "what was restored is another engine, or has another spec"
    yield from broken_by_blobs(lambda bad: restore(spec, bad), blob)


def _broken_learning(
    spec: EngineSpec, learned: Learner, answers: list[Score], examples: Sequence[Example]
) -> Iterator[str]:
    count, blob = len(examples), learned.dump()
    if learned.learned != count:
        yield f"a model that was given {count} examples says it has learned {learned.learned}"
    if not learned.healthy():
        yield "a model that was given ordinary examples says that it is not healthy"
    apart, aside = (cast("Learner", build(spec)) for _ in range(2))
    kept = copy.deepcopy(list(examples))
    for (row, label), answer in zip(examples, answers, strict=True):
        if apart.score([row]) != [answer]:
            yield "step does not answer as score does"
        given = dict(row)
        apart.learn(given, label)
        given.clear()
        aside.score([other for other, _ in examples[:3]])
        aside.score([{name: None for name in row}, {**row, "never seen": "never seen"}])
        aside.learn(row, label)
    if apart.dump() != blob:
        yield "score and learn do not do what step does, or the model keeps the row it was given"
    if aside.dump() != blob:
        yield "a model that was asked more often has learned something else"
    if list(examples) != kept:
        yield "learn changes the rows"
    for every in {1, max(1, count // 3), max(1, count // 2)}:
        resumed, replies = cast("Learner", build(spec)), []
        for at in range(0, count, every):
            resumed = cast("Learner", restore(spec, resumed.dump()))
            replies += _learn(resumed, examples[at : at + every])[1]
        if replies != answers:
            yield f"restored after every {every} examples, it answers otherwise than without a stop"
        if resumed.dump() != blob:
            yield f"restored after every {every} examples, it has learned otherwise than without a stop"


def _broken_refusals(learned: Learner, row: Row, label: Value) -> Iterator[str]:
    blob, count = learned.dump(), learned.learned
    spec = learned.spec
    tries: list[tuple[str, Any, Any]] = []
    for name, kind in spec.inputs:
        tries += [(f"'{name}' = {value!r}", {**row, name: value}, label) for value in _WRONG[kind]]
    if spec.task not in _UNLABELLED:
        wrong = [None, *_WRONG[spec.output.kind]]
        tries += [(f"the label {value!r}", row, value) for value in wrong]
    calls: tuple[Callable[..., object], ...] = (learned.learn, learned.step)
    for what, given, truth in tries:
        for call in calls:
            try:
                call(given, truth)
            except RecordError:
                pass
            except Exception as error:
                yield f"learning from {what} raises {type(error).__name__}, not RecordError"
            else:
                yield f"it learns from {what}"
    if learned.dump() != blob or learned.learned != count:
        yield "what it refuses to learn changes the model"
