"""What lies between rows and a network: features to arrays, labels to targets, outputs to answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import hypot
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import EngineSpec, Field, Score, Value
from thalweg.udfs.engines.gate import Gate, usable
from thalweg.udfs.engines.onnx_inputs import Inputs
from thalweg.udfs.engines.onnx_outputs import Outputs

__all__ = ["Codec", "FileCodec", "PlainRows", "number_of"]

_LARGEST = float(np.finfo(np.float32).max)


class Codec(Protocol):
    """One model's way to read rows and labels; what it has learned of them is part of the model's state."""

    names: list[str]

    def take(self, row: Mapping[str, Value]) -> Any:
        """Return a row's features, checked; raises RecordError."""
        ...

    def take_plain(self, rows: Sequence[Mapping[str, Value]]) -> Sequence[Any] | None:
        """Return what ``take`` gives for each row, where all are plain and fine, else None: faster than one by one."""
        ...

    def feeds(self, taken: Sequence[Any]) -> dict[str, Any]:
        """Return what the network is fed for some rows."""
        ...

    def constants(self) -> dict[str, Any]:
        """Return what the network is fed whatever the rows."""
        ...

    def read(self, rows: Sequence[Mapping[str, Value]]) -> tuple[dict[str, Any], dict[int, str]]:
        """Return what the network is fed for the rows that fit, and why the others do not, by place."""
        ...

    def check(self, label: Value) -> Any:
        """Return a label, checked; raises RecordError."""
        ...

    def admits(self, label: Any) -> bool:
        """Return whether ``admit`` will change answers, as a class that was never seen does."""
        ...

    def admit(self, label: Any) -> None:
        """Make room for a label that was never seen."""
        ...

    def targets(self, labels: Sequence[Any]) -> Any:
        """Return what the network should have given, [rows, width]."""
        ...

    def absorb(self, taken: Sequence[Any], labels: Sequence[Any]) -> None:
        """Learn what is needed to read the next rows."""
        ...

    def scores(self, raw: Sequence[Any], count: int) -> list[Score]:
        """Return the answers behind the outputs ``names``."""
        ...

    def used(self) -> dict[str, int]:
        """Return how many rows of an embedding table are in use, for those that fill up by and by."""
        ...

    def pack(self) -> bytes:
        """Return what was learned of rows and labels as bytes."""
        ...

    def unpack(self, blob: memoryview) -> None:
        """Take what ``pack`` wrote; raises ValueError."""
        ...


class FileCodec:
    """The codec of a customer's network: inputs and outputs are those of the file, read as the ONNX engine reads them.

    Parameters
    ----------
    spec : EngineSpec
        Inputs and output.
    inputs : Inputs
        Which feature goes into which input.
    outputs : Outputs
        What the outputs mean.
    classes : tuple of str
        Of a classifier, in the order of its probabilities.
    positive : str
        The class that a BOOLEAN output speaks of.
    width : int
        Numbers per row at the head of the network.
    plain : str or None
        The one input, where there is no other and it takes float32 and all features are numbers.
    """

    def __init__(
        self,
        spec: EngineSpec,
        inputs: Inputs,
        outputs: Outputs,
        classes: tuple[str, ...],
        positive: str,
        width: int,
        plain: str | None,
    ) -> None:
        self.names = outputs.names
        self._output, self._fields, self._inputs, self._outputs = spec.output, spec.inputs, inputs, outputs
        self._places = {name: at for at, name in enumerate(classes)}
        self._positive, self._width = positive, width
        # The plain case, one input of float32 that takes numbers alone, needs no look at each column.
        self._plain = plain
        self._plain_rows = PlainRows(spec.inputs)
        self._gate = Gate(spec.inputs if plain is not None else (), skip_null=False)

    def take(self, row: Mapping[str, Value]) -> Any:
        """Return the row as numbers in the plain case, else as what the network is fed."""
        if self._plain is not None:
            try:
                values = self._gate.values(row)
                if max(values) <= _LARGEST and min(values) >= -_LARGEST:
                    return values
            except RecordError:
                pass
        feeds, faults = self.read([row])
        if faults:
            raise RecordError(faults[0])
        return feeds if self._plain is None else tuple(feeds[self._plain][0].tolist())

    def take_plain(self, rows: Sequence[Mapping[str, Value]]) -> Sequence[Any] | None:
        """Return the rows as numbers, where they are nothing else."""
        return self._plain_rows.take(rows) if self._plain is not None else None

    def feeds(self, taken: Sequence[Any]) -> dict[str, Any]:
        """Join rows."""
        if self._plain is not None:
            return {self._plain: np.array(taken, np.float32)}
        return {name: np.concatenate([part[name] for part in taken]) for name in taken[0]}

    def constants(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def read(self, rows: Sequence[Mapping[str, Value]]) -> tuple[dict[str, Any], dict[int, str]]:
        """Return arrays and faults as the ONNX engine does."""
        columns = {field.name: [row.get(field.name) for row in rows] for field in self._fields}
        fed = self._inputs.feeds(columns, len(rows))
        return fed.arrays, fed.faults

    def check(self, label: Value) -> Any:
        """Return the place of a class, or a number."""
        if not self._places:
            return number_of(self._output, label)
        if label is None:
            raise RecordError(f"the label '{self._output.name}' is missing")
        found = usable(self._output.name, self._output.kind, label)
        if self._output.kind == "boolean":
            at = self._places[self._positive]
            return at if found else 1 - at
        if str(found) not in self._places:
            known = ", ".join(list(self._places)[:20])
            raise RecordError(f"the label '{str(found)[:40]}' is none of the network's classes ({known})")
        return self._places[str(found)]

    def admits(self, label: Any) -> bool:
        """Return False: the classes of a file are fixed."""
        return False

    def admit(self, label: Any) -> None:
        """Do nothing."""

    def targets(self, labels: Sequence[Any]) -> Any:
        """Return numbers, or a one in the column of each row's class."""
        if self._width == 1:
            return np.array(labels, np.float32).reshape(-1, 1)
        return np.eye(self._width, dtype=np.float32)[list(labels)]

    def absorb(self, taken: Sequence[Any], labels: Sequence[Any]) -> None:
        """Do nothing: the network has its own preprocessing."""

    def scores(self, raw: Sequence[Any], count: int) -> list[Score]:
        """Return what the ONNX engine would answer."""
        return self._outputs.scores(raw, count)

    def used(self) -> dict[str, int]:
        """Return nothing: the tables of a file are used as they are."""
        return {}

    def pack(self) -> bytes:
        """Return nothing."""
        return b""

    def unpack(self, blob: memoryview) -> None:
        """Take nothing."""
        if len(blob):
            raise ValueError("it has more than the weights")


class PlainRows:
    """Takes rows of nothing but floats, all at once.

    Parameters
    ----------
    inputs : sequence of Field
        The declared features.

    Examples
    --------
    >>> rows = PlainRows([Field("a", "number"), Field("b", "number")])
    >>> rows.take([{"b": 2.0, "a": 1.0}]), rows.take([{"a": 1.0, "b": None}])
    ([(1.0, 2.0)], None)
    """

    def __init__(self, inputs: Sequence[Field]) -> None:
        self._plain = len(inputs) > 1 and all(kind == "number" for _, kind in inputs)
        self._take = itemgetter(*(name for name, _ in inputs))

    def take(self, rows: Sequence[Mapping[str, Value]]) -> list[tuple[float, ...]] | None:
        """Return the features of each row, or None where one is not a float that float32 can hold."""
        if not self._plain:
            return None
        try:
            values = list(map(self._take, rows))
            numbers = list(chain.from_iterable(values))
            # The length of a vector of numbers is below the limit only if each is, and NaN is below nothing.
            fits = set(map(type, numbers)) <= {float} and hypot(*numbers) < _LARGEST
        except (KeyError, OverflowError):
            return None
        return values if fits else None


def number_of(output: Field, label: Value) -> float:
    """Return a label that is a number; raises RecordError where it is none, or too large for float32."""
    if label is None:
        raise RecordError(f"the label '{output.name}' is missing")
    found = float(usable(output.name, output.kind, label))
    if abs(found) > _LARGEST:
        raise RecordError(f"'{output.name}' is too large to be computed with ({found})")
    return found
