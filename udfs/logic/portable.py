"""Models as one value of SQL: bytes that hold the model and all that is needed to restore it, and how they score.

The portable form is ``TWM1``, the length of a head as four bytes, the head as JSON, and then the engine's own dump.
The head names the engine (``kind``), the spec (``spec``, EngineSpec as JSON) and how many rows were ``learned`` and
``skipped``.
Nothing in it is trusted: the spec is checked field by field, the model text and the dump pass the engine's own audit.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from thalweg.connector.errors import SnapshotError, ThalwegError
from thalweg.udfs.engines import check_whole, engine_class, restore
from thalweg.udfs.engines.base import EngineSpec, Learner, Score, Value

__all__ = [
    "CACHE",
    "MAGIC",
    "Answer",
    "ModelCache",
    "Portable",
    "pack_model",
    "pack_parts",
    "read_model",
    "score_rows",
    "unpack_model",
]

MAGIC = b"TWM1"
"""First bytes of a portable model."""

_LENGTH = struct.Struct(">I")
_LARGEST_HEAD = 1 << 20  # bytes; a model text has at most 20,000 characters
_LARGEST_COUNT = 2**63


class Portable(NamedTuple):
    """A portable model that has been restored.

    Attributes
    ----------
    engine : Learner
        The live model.
    skipped : int
        Rows that could not be learned on the way to this state.
    """

    engine: Learner
    skipped: int


class Answer(NamedTuple):
    """What a portable model says of one row; ``learned`` is None where there is no model."""

    score: Score
    learned: int | None


def pack_model(engine: Learner, skipped: int = 0) -> bytes:
    """Return a model in the portable form, the same bytes for the same state.

    Parameters
    ----------
    engine : Learner
        The model.
    skipped : int
        Rows that could not be learned.

    Examples
    --------
    >>> from thalweg.udfs.engines import build
    >>> from thalweg.udfs.engines.base import Field
    >>> spec = EngineSpec("river", "regression", "linear_model.LinearRegression()",
    ...                   (Field("f0", "number"),), Field("label", "number"))
    >>> engine = build(spec)
    >>> engine.learn({"f0": 1.0}, 2.0)
    >>> unpack_model(pack_model(engine)).learned
    1
    """
    return _packed(engine.spec.kind, engine.spec.to_json(), engine.learned, skipped, engine.dump())


def pack_parts(spec: str, blob: bytes) -> bytes:
    """Return the portable form of what the snapshot topic has in two columns; raises SnapshotError.

    Parameters
    ----------
    spec : str
        EngineSpec as JSON.
    blob : bytes
        What the engine dumped; a snapshot of one part (``chunks`` is 1).
    """
    return _packed(_spec(spec).kind, spec, None, 0, blob)


def _packed(kind: str, spec: str, learned: int | None, skipped: int, blob: bytes) -> bytes:
    head = {"kind": kind, "learned": learned, "skipped": skipped, "spec": spec}
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return b"".join((MAGIC, _LENGTH.pack(len(text)), text, blob))


def read_model(data: bytes) -> Portable:
    """Return the model that ``pack_model`` wrote, together with what was skipped; raises SnapshotError."""
    head, blob = _split(data)
    spec = _spec(head.get("spec"))
    learned, skipped = head.get("learned"), head.get("skipped")
    if head.get("kind") != spec.kind or type(skipped) is not int or not _counts(skipped, learned):
        raise SnapshotError("the model is damaged: its head contradicts itself.")
    try:
        if not hasattr(engine_class(spec.kind), "learn"):
            raise SnapshotError(f"the model is of the engine '{spec.kind}', which does not learn.")
        engine = restore(spec, blob)
        check_whole(engine)
    except SnapshotError:
        raise
    except ThalwegError as error:
        raise SnapshotError(f"the model's spec does not hold: {error}") from error
    except Exception as error:  # an estimator that is built from a foreign text may fail in any way
        raise SnapshotError(f"the model is damaged ({type(error).__name__}: {error}).") from error
    if not isinstance(engine, Learner) or (learned is not None and engine.learned != learned):
        raise SnapshotError("the model is damaged: its head and its state disagree on what was learned.")
    return Portable(engine, skipped)


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    if data[:4] != MAGIC:
        what = "these bytes are no portable model: they do not begin with TWM1"
        raise SnapshotError(f"{what}. Take them from river_learn(...), or from river_model(spec, blob).")
    start = len(MAGIC) + _LENGTH.size
    length = int(_LENGTH.unpack_from(data, len(MAGIC))[0]) if len(data) >= start else _LARGEST_HEAD + 1
    if length > _LARGEST_HEAD or start + length > len(data):
        raise SnapshotError("the model is damaged: it ends too early, or its head is too long.")
    try:
        head = json.loads(data[start : start + length])
    except (ValueError, RecursionError) as error:
        raise SnapshotError("the model is damaged: its head is not JSON.") from error
    if not isinstance(head, dict):
        raise SnapshotError("the model is damaged: its head is not a JSON object.")
    return head, data[start + length :]


def _counts(skipped: int, learned: object) -> bool:
    return 0 <= skipped < _LARGEST_COUNT and (learned is None or type(learned) is int)


def _spec(text: object) -> EngineSpec:
    """Return a spec whose every part has the type it should have; it is a key of caches."""
    try:
        spec = EngineSpec.from_json(text)  # type: ignore[arg-type]
        parts = [spec.kind, spec.task, spec.model]
        parts += [part for pair in (*spec.inputs, spec.output, *spec.params) for part in pair]
        if all(type(part) is str for part in parts):
            return spec
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise SnapshotError("the model is damaged: its spec is not that of an engine.")


class ModelCache:
    """Restored models by the SHA-256 of their bytes: one restore per model and process.

    Bounded by count and by the bytes that the models were restored from; the least recently used go first. What cannot
    be restored is remembered as well, so that a damaged model costs one attempt.

    Parameters
    ----------
    count : int
        Most models.
    size : int
        Most bytes. A single model above it stays as long as it is the last one used.
    """

    def __init__(self, count: int = 1000, size: int = 256 * 2**20) -> None:
        self._most, self._limit = count, size
        self._found: OrderedDict[bytes, tuple[Portable | SnapshotError, int]] = OrderedDict()
        self.size = 0
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, data: bytes) -> Learner:
        """Return the model that ``data`` holds, to be read and not to be taught; raises SnapshotError."""
        name = hashlib.sha256(data).digest()
        with self.lock:
            held = self._found.get(name)
            if held is None:
                found: Portable | SnapshotError
                try:
                    found = read_model(data)
                except SnapshotError as error:
                    found = SnapshotError(str(error))  # without the frames, which would keep what was being built
                held = self._found[name] = found, len(data)
                self.size += len(data)
                self._shrink()
            self._found.move_to_end(name)
        if isinstance(held[0], SnapshotError):
            raise SnapshotError(str(held[0]))
        return held[0].engine

    def _shrink(self) -> None:
        while len(self._found) > 1 and (len(self._found) > self._most or self.size > self._limit):
            _, (_, freed) = self._found.popitem(last=False)
            self.size -= freed


CACHE = ModelCache()
"""The cache of this process."""


def unpack_model(data: bytes, cache: ModelCache | None = None) -> Learner:
    """Return the model that ``pack_model`` wrote.

    Parameters
    ----------
    data : bytes
        The portable form.
    cache : ModelCache or None
        Where restored models are kept; they are shared, so only read them. None: restore a model of one's own.

    Raises
    ------
    SnapshotError
        Damaged, hostile, or of an engine that does not learn; nothing has been built from a bad dump.
    """
    return read_model(data).engine if cache is None else cache.get(data)


def score_rows(
    models: Sequence[bytes | None], rows: Sequence[Sequence[Value]], cache: ModelCache | None = None
) -> list[Answer]:
    """Return what each row's model says of it; never raises for a row.

    Parameters
    ----------
    models : sequence of (bytes or None)
        The portable model of each row.
    rows : sequence of sequence
        Features by position, in the order of the model's inputs.
    cache : ModelCache or None
        Default: the cache of this process.
    """
    cache = CACHE if cache is None else cache
    answers: list[Answer] = []
    at = 0
    with cache.lock:  # a model that is asked leaves no trace, but is not asked twice at the same time
        while at < len(models):
            data, end = models[at], at + 1
            while end < len(models) and models[end] == data:
                end += 1
            answers += _score(data, rows[at:end], cache)
            at = end
    return answers


def _score(data: bytes | None, rows: Sequence[Sequence[Value]], cache: ModelCache) -> list[Answer]:
    if data is None:
        return [Answer(Score(None, None, None, "not_ready", "there is no model yet: it is NULL"), None)] * len(rows)
    try:
        engine = cache.get(bytes(data))
    except SnapshotError as error:
        return [Answer(Score(None, None, None, "refused", str(error)), None)] * len(rows)
    names = [name for name, _ in engine.spec.inputs]
    if rows and len(rows[0]) != len(names):
        takes = f"the model takes {len(names)} features ({', '.join(names)}), and was given {len(rows[0])}"
        return [Answer(Score(None, None, None, "refused", takes), engine.learned)] * len(rows)
    if any(kind == "number" for _, kind in engine.spec.inputs):
        numbers = [kind == "number" for _, kind in engine.spec.inputs]
        rows = [
            [
                float(value) if type(value) is int and number else value
                for value, number in zip(row, numbers, strict=True)
            ]
            for row in rows
        ]
    try:
        scores = engine.score([dict(zip(names, row, strict=True)) for row in rows])
    except Exception as error:  # a row must not end the job
        why = f"the model cannot score ({type(error).__name__}: {error})"
        return [Answer(Score(None, None, None, "refused", why), engine.learned)] * len(rows)
    return [Answer(score, engine.learned) for score in scores]
