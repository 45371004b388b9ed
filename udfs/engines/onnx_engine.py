"""A frozen ONNX model behind the engine protocol, on ONNX Runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Score, Value
from thalweg.udfs.engines.onnx_inputs import plan_inputs
from thalweg.udfs.engines.onnx_outputs import plan_outputs, refused
from thalweg.udfs.engines.onnx_reference import read_model
from thalweg.udfs.engines.onnx_session import OnnxSession

__all__ = ["OnnxEngine"]

PROTOCOL = 1
_HASH_BYTES = 32
_TASKS = ("anomaly", "classification", "clustering", "recommendation", "regression")


class OnnxEngine:
    """An ONNX model that scores rows of plain values.

    What goes in is built from the model's own inputs: an input whose name is a feature's takes that feature; the others
    take the features that are left in the order of their declaration. What comes out is read by the task: a label, a
    ZipMap or a table of probabilities, one number, or a detector's decision value.

    Parameters
    ----------
    spec : EngineSpec
        ``model`` is a path, a ``file:`` URI, or the model itself as a ``data:;base64,`` URI. Engine options:
        ``sha256``, what the file must hash to; ``on-null``, ``refuse`` a row with a NULL feature (default) or feed
        ``nan`` to inputs of floats; ``positive``, the class a BOOLEAN output speaks of (default: the one called true,
        1 or yes, else the last one, as scikit-learn orders them); ``output``, which of the model's outputs to use,
        separated by commas.
    data : bytes
        The model.

    Attributes
    ----------
    version : str
        The first 12 digits of the model's SHA-256.

    Notes
    -----
    A score is the model's own number: of a binary model, the probability of the positive class. The label is the
    model's where it gives one, else the class with the highest probability. A model that gives labels alone is taken
    to be certain of them. For task ``anomaly``, a label and a value are read as scikit-learn's detectors mean them, so
    the value changes its sign: higher is more anomalous.
    """

    OPTIONS = ("on-null", "output", "positive", "sha256")

    def __init__(self, spec: EngineSpec, data: bytes) -> None:
        problems = _option_problems(spec)
        digest = hashlib.sha256(data).hexdigest()
        wanted = spec.param("sha256", digest).lower()
        if wanted != digest:
            what = f"the model's bytes hash to {digest}."
            problems.append(Problem("option 'sha256'", what, "Deploy the right file, or correct the option."))
        self.spec = spec
        self.version = digest[:12]
        self._data = data
        try:
            self._session = OnnxSession(data, f"model '{spec.model[:80]}'")
        except ConfigError as error:
            raise ConfigError([*problems, *error.problems]) from error
        nulls_as_nan = spec.param("on-null", "refuse") == "nan"
        inputs = plan_inputs(self._session.inputs, spec.inputs, nulls_as_nan, problems)
        outputs = plan_outputs(self._session.outputs, spec, self._session.graph, problems)
        if problems or inputs is None or outputs is None:
            raise ConfigError(problems)
        self._inputs, self._outputs = inputs, outputs

    @classmethod
    def build(cls, spec: EngineSpec) -> OnnxEngine:
        """Return the model that the spec names.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec, the file, or the two together.
        """
        try:
            data, _ = read_model(spec.model)
        except ConfigError as error:
            raise ConfigError([*_option_problems(spec), *error.problems]) from error
        return cls(spec, data)

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> OnnxEngine:
        """Return the model that ``dump`` wrote; the file that the spec names is not read.

        Raises
        ------
        SnapshotError
            Damaged, of another protocol, or not a model for this spec.
        """
        if blob[:1] != bytes([PROTOCOL]):
            found = blob[0] if blob else "nothing"
            raise SnapshotError(f"the snapshot has protocol {found}; this version reads protocol {PROTOCOL}.")
        digest, data = blob[1 : 1 + _HASH_BYTES], blob[1 + _HASH_BYTES :]
        if hashlib.sha256(data).digest() != digest:
            raise SnapshotError("the snapshot is damaged: its bytes do not have the hash that it names.")
        try:
            return cls(spec, data)
        except ConfigError as error:
            raise SnapshotError(f"the snapshot's model does not fit the spec: {error}") from error

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Answer ``rows`` in order; a row that does not fit is refused with its reason."""
        columns = {name: [row.get(name) for row in rows] for name, _ in self.spec.inputs}
        return self.score_columns(columns, len(rows))

    def score_columns(self, columns: Mapping[str, Any], count: int) -> list[Score]:
        """Answer rows that come as columns, as in an Arrow batch: the same as ``score``, and faster.

        Parameters
        ----------
        columns : mapping of str to ndarray or list
            One per feature, each with ``count`` values; NULL is None.
        count : int
            Number of rows.
        """
        if not count:
            return []
        fed = self._inputs.feeds(columns, count)
        answers = self._run(fed.arrays, fed.size)
        if fed.kept is None:
            return answers
        rest = iter(answers)
        return [refused(fed.faults[at]) if at in fed.faults else next(rest) for at in range(count)]

    def _run(self, feeds: dict[str, Any], count: int) -> list[Score]:
        if not count:
            return []
        try:
            return self._outputs.scores(self._session.run(self._outputs.names, feeds, count), count)
        except Exception as error:
            if count == 1:
                return [refused(f"the model cannot score this row ({error})"[:500])]
        # One row at a time, so that a row that fails inside the model does not take the others with it.
        return [
            score
            for at in range(count)
            for score in self._run({name: array[at : at + 1] for name, array in feeds.items()}, 1)
        ]

    def dump(self) -> bytes:
        """Return the protocol number, the model's SHA-256 and the model."""
        return bytes([PROTOCOL]) + hashlib.sha256(self._data).digest() + self._data

    def __reduce__(self) -> tuple[Any, tuple[EngineSpec, bytes]]:
        return OnnxEngine.restore, (self.spec, self.dump())


def _option_problems(spec: EngineSpec) -> list[Problem]:
    problems = spec.problems("ONNX", OnnxEngine.OPTIONS)
    value = spec.param("on-null", "refuse")
    if value not in ("refuse", "nan"):
        problems.append(Problem("option 'on-null'", f"'{value}' is neither refuse nor nan.", "Give one of the two."))
    if spec.task not in _TASKS:
        problems.append(Problem(f"task '{spec.task}'", "there is no such task.", f"Known: {', '.join(_TASKS)}."))
    return problems
