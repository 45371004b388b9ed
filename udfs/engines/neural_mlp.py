"""A network that is built from text: its graph, and the codec that learns how to read the rows."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import isfinite, sqrt
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import EngineSpec, Score, Value
from thalweg.udfs.engines.gate import Gate, usable
from thalweg.udfs.engines.neural_codec import PlainRows, number_of
from thalweg.udfs.engines.neural_scaling import Scaling
from thalweg.udfs.engines.neural_text import MlpText
from thalweg.udfs.engines.onnx_outputs import NOT_FINITE, refused

__all__ = ["MASK", "NUMBERS", "OPSET", "MlpCodec", "mlp_model"]

NUMBERS, MASK = "numbers", "mask"
OPSET = 17
_FORMAT = 8
_HIDDEN = -1e9  # added to what a class that was never seen has: its probability is exactly 0
_LENGTH = struct.Struct("<I")


def mlp_model(text: MlpText, numbers: int, width: int, classifies: bool, seed: int) -> Any:
    """Return the ONNX model of a text, with first weights.

    Weights are uniform in ±sqrt(6 / inputs) (He et al., Delving Deep into Rectifiers, 2015), the last layer's a tenth
    of that, so that a network begins by being unsure; biases are 0. The first row of an embedding table, which is that
    of all values without one, is 0.

    Parameters
    ----------
    text : MlpText
        Layers and embeddings.
    numbers : int
        How many numbers are fed besides the embeddings.
    width : int
        Of the last layer.
    classifies : bool
        Whether it ends in a sigmoid (width 1) or softmax.
    seed : int
        Of the first weights.
    """
    dice = np.random.default_rng(seed)
    node, inputs, weights, parts = helper.make_node, [], [], []
    if numbers:
        inputs.append(helper.make_tensor_value_info(NUMBERS, TensorProto.FLOAT, ["n", numbers]))
        parts.append(NUMBERS)
    nodes = []
    for each in text.embeddings:
        inputs.append(helper.make_tensor_value_info(each.column, TensorProto.INT64, ["n"]))
        table = ((2 * dice.random((each.rows + 1, each.width)) - 1) / sqrt(each.width)).astype(np.float32)
        table[0] = 0
        weights.append((f"embedding.{each.column}", table))
        nodes.append(
            node("Gather", [weights[-1][0], each.column], [f"embedded.{each.column}"], name=f"pick.{each.column}")
        )
        parts.append(f"embedded.{each.column}")
    value, size = parts[0], numbers + sum(each.width for each in text.embeddings)
    if len(parts) > 1:
        value = "features"
        nodes.append(node("Concat", parts, [value], axis=1, name="join"))
    for number, wide in enumerate((*text.layers, width)):
        last = number == len(text.layers)
        limit = sqrt(6 / size) * (0.1 if last else 1.0)
        names = (f"layer{number}.weight", f"layer{number}.bias")
        weights.append((names[0], ((2 * dice.random((size, wide)) - 1) * limit).astype(np.float32)))
        weights.append((names[1], np.zeros(wide, np.float32)))
        raw = f"raw{number}"
        nodes.append(node("Gemm", [value, *names], [raw], name=f"layer{number}"))
        value, size = raw, wide
        if not last:
            value = f"active{number}"
            nodes.append(node(text.activation, [raw], [value], name=value))
    if width > 1:
        inputs.append(helper.make_tensor_value_info(MASK, TensorProto.FLOAT, [width]))
        nodes.append(node("Add", [value, MASK], ["masked"], name="masked"))
        nodes.append(node("Softmax", ["masked"], ["probabilities"], axis=1, name="softmax"))
    else:
        nodes.append(node("Sigmoid" if classifies else "Identity", [value], ["score"], name="last"))
    name = "probabilities" if width > 1 else "score"
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
    initializers = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "mlp", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_FORMAT)


class MlpCodec:
    """Standardises numbers, numbers texts in the order of their coming, and names classes in that order.

    Parameters
    ----------
    spec : EngineSpec
        Inputs and output.
    text : MlpText
        Which column is an embedding or a vector.
    classes : tuple of str
        Classes that are known from the start.
    bound : int
        The most classes there may be; 1 where there are none to name.

    Attributes
    ----------
    scaling, target : Scaling
        Of the numbers that are fed, and of a label that is a number.
    words : dict of str to dict
        By embedded column, the row of each value that has one.
    classes : list of str
        In the order of their probabilities.
    """

    def __init__(self, spec: EngineSpec, text: MlpText, classes: tuple[str, ...], bound: int) -> None:
        self.names = ["probabilities" if bound > 1 else "score"]
        self._output, self._bound, self._vectors, self._embeddings = spec.output, bound, text.vectors, text.embeddings
        self._plain_rows = PlainRows(spec.inputs)
        self._gate = Gate([field for field in spec.inputs if field.name not in text.vectors], skip_null=False)
        fed = {each.column for each in text.embeddings}
        self._order = [field.name for field in spec.inputs if field.name not in fed]
        self._plain = not text.vectors and not fed
        self.scaling = Scaling(sum(text.vectors.get(name, 1) for name in self._order))
        self.target = Scaling(1)
        self.words: dict[str, dict[str, int]] = {each.column: {} for each in text.embeddings}
        self.classes = list(classes)
        self._mask = self._new_mask()
        self._last: tuple[Any, Any] = (None, None)

    def take(self, row: Mapping[str, Value]) -> tuple[Any, list[str]]:
        """Return the numbers of a row, and the texts that are embedded."""
        values: Any = self._gate.values(row)
        if self._plain:
            return values, []
        known = dict(zip(self._gate.names, values, strict=True))
        numbers: list[float] = []
        for name in self._order:
            width = self._vectors.get(name)
            if width is None:
                numbers.append(known[name])
            else:
                numbers.extend(_vector(name, row.get(name), width))
        return numbers, [str(known[each.column]) for each in self._embeddings]

    def take_plain(self, rows: Sequence[Mapping[str, Value]]) -> Sequence[Any] | None:
        """Return the rows as numbers, where they are nothing else."""
        found = self._plain_rows.take(rows) if self._plain else None
        return None if found is None else [(values, []) for values in found]

    def feeds(self, taken: Sequence[tuple[Any, list[str]]]) -> dict[str, Any]:
        """Return standardised numbers and the rows of texts in their tables."""
        feeds: dict[str, Any] = {}
        if self._order:
            feeds[NUMBERS] = self.scaling.scaled(self._array(taken))
        for at, each in enumerate(self._embeddings):
            words = self.words[each.column]
            feeds[each.column] = np.array([words.get(texts[at], 0) for _, texts in taken], np.int64)
        return feeds

    def _array(self, taken: Sequence[tuple[Any, list[str]]]) -> Any:
        """Return the numbers of rows; a row is asked for twice, to be read and to be absorbed."""
        if len(taken) > 1:
            return np.array([numbers for numbers, _ in taken], np.float64)
        if self._last[0] is not taken[0]:
            self._last = (taken[0], np.array([taken[0][0]], np.float64))
        return self._last[1]

    def constants(self) -> dict[str, Any]:
        """Return which classes there are."""
        return {MASK: self._mask} if self._bound > 1 else {}

    def read(self, rows: Sequence[Mapping[str, Value]]) -> tuple[dict[str, Any], dict[int, str]]:
        """Return arrays and faults."""
        taken, faults = [], {}
        for at, row in enumerate(rows):
            try:
                taken.append(self.take(row))
            except RecordError as error:
                faults[at] = str(error)
        return (self.feeds(taken) if taken else {}), faults

    def check(self, label: Value) -> Any:
        """Return True or False, the name of a class, or a number."""
        if self._bound == 1 and self._output.kind != "boolean":
            return number_of(self._output, label)
        if label is None:
            raise RecordError(f"the label '{self._output.name}' is missing")
        found = usable(self._output.name, self._output.kind, label)
        if self._output.kind == "boolean":
            return found
        name = str(found)
        if name not in self.classes and len(self.classes) >= self._bound:
            raise RecordError(f"the label '{name[:40]}' is one class more than the {self._bound} that there may be")
        return name

    def admits(self, label: Any) -> bool:
        """Return whether it is a class that was never seen."""
        return self._bound > 1 and label not in self.classes

    def admit(self, label: Any) -> None:
        """Give a new class the next place."""
        if self.admits(label):
            self.classes.append(label)
            self._mask = self._new_mask()

    def targets(self, labels: Sequence[Any]) -> Any:
        """Return 0 or 1, a one in the column of the class, or the standardised number."""
        if self._bound > 1:
            return np.eye(self._bound, dtype=np.float32)[[self.classes.index(name) for name in labels]]
        if self._output.kind == "boolean":
            return np.array(labels, np.float32).reshape(-1, 1)
        return self.target.scaled(np.array(labels, np.float64).reshape(-1, 1))

    def absorb(self, taken: Sequence[tuple[Any, list[str]]], labels: Sequence[Any]) -> None:
        """Take rows into means and deviations, and give new texts a row of their own while there are some left."""
        if self._order:
            self.scaling.learn(self._array(taken))
        if self._bound == 1 and self._output.kind != "boolean":
            self.target.learn(np.array(labels, np.float64).reshape(-1, 1))
        for _, texts in taken if self._embeddings else ():
            for each, text in zip(self._embeddings, texts, strict=True):
                words = self.words[each.column]
                if text not in words and len(words) < each.rows:
                    words[text] = len(words) + 1

    def scores(self, raw: Sequence[Any], count: int) -> list[Score]:
        """Return the answers behind probabilities or numbers."""
        if self._bound > 1:
            return [self._share(row) for row in raw[0][:, : len(self.classes)].astype(np.float64)]
        if self._output.kind == "boolean":
            shares = [float(raw[0][0, 0])] if count == 1 else raw[0][:, 0].tolist()
            return [Score(share, "true" if share > 0.5 else "false") if isfinite(share) else refused(NOT_FINITE)
                    for share in shares]  # fmt: skip
        values = raw[0][:, 0].astype(np.float64)
        spread = self.target.deviation if isfinite(self.target.deviation[0]) else np.zeros(1)
        values = values * spread + self.target.mean
        return [Score(value) if isfinite(value) else refused(NOT_FINITE) for value in values.tolist()]

    def _share(self, row: Any) -> Score:
        shares = dict(zip(self.classes, row.tolist(), strict=True))
        if not shares or not np.isfinite(row).all():
            return refused(NOT_FINITE)
        best = self.classes[int(row.argmax())]
        return Score(shares[best], best, shares)

    def _new_mask(self) -> Any:
        return np.where(np.arange(self._bound) < len(self.classes), 0, _HIDDEN).astype(np.float32)

    def used(self) -> dict[str, int]:
        """Return how many rows of each table have been given to a text, and the one for all others."""
        return {f"embedding.{column}": len(words) + 1 for column, words in self.words.items()}

    def pack(self) -> bytes:
        """Return both scalings, words and classes."""
        names = json.dumps([list(map(list, self.words.values())), self.classes], separators=(",", ":")).encode()
        return self.scaling.pack() + self.target.pack() + _LENGTH.pack(len(names)) + names

    def unpack(self, blob: memoryview) -> None:
        """Take what ``pack`` wrote; raises ValueError."""
        first, second = self.scaling.size, self.scaling.size + self.target.size
        self.scaling.unpack(blob[:first])
        self.target.unpack(blob[first:second])
        if (
            len(blob) < second + _LENGTH.size
            or len(blob) != second + _LENGTH.size + _LENGTH.unpack_from(blob, second)[0]
        ):
            raise ValueError("its names are not as long as it says")
        words, classes = json.loads(bytes(blob[second + _LENGTH.size :]))
        for each, found in zip(self._embeddings, words, strict=True):
            if len(found) > each.rows or not _names(found):
                raise ValueError(f"it has more values of '{each.column}' than there are rows")
            self.words[each.column] = {text: at for at, text in enumerate(found, 1)}
        if len(classes) > self._bound or not _names(classes):
            raise ValueError("it has more classes than there may be")
        self.classes = classes
        self._mask = self._new_mask()


def _names(found: Any) -> bool:
    return type(found) is list and all(type(name) is str for name in found) and len(set(found)) == len(found)


def _vector(name: str, value: Any, width: int) -> list[float]:
    if not isinstance(value, (list, tuple, np.ndarray)):
        found = "is missing" if value is None else f"should be a vector and is {value!r:.40} ({type(value).__name__})"
        raise RecordError(f"'{name}' {found}")
    if len(value) != width:
        raise RecordError(f"'{name}' has {len(value)} numbers; the model takes {width}")
    return [usable(f"{name}[{at}]", "number", item) for at, item in enumerate(value)]
