"""Where a network gives its answer, and the gradient of a loss at that place, in ONNX operators."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.neural_builder import GraphBuilder
from thalweg.udfs.engines.neural_network import Network

__all__ = ["Head", "Loss", "find_head", "read_loss"]

_LINKS = {"Sigmoid": "sigmoid", "Softmax": "softmax", "LogSoftmax": "log-softmax"}
_AFTER = frozenset({"ArgMax", "Cast", "Identity", "Reshape", "Squeeze", "ai.onnx.ml.ArrayFeatureExtractor",
                    "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.ZipMap"})  # fmt: skip
_CALL = re.compile(r"([a-z-]+)(?:\(\s*([0-9.eE+-]+)\s*\))?")


class Head(NamedTuple):
    """The last value of a network that can be differentiated.

    Attributes
    ----------
    value : str
        Probabilities, or numbers.
    raw : str
        What the loss is derived by: the numbers before the sigmoid or softmax.
    link : str
        ``sigmoid``, ``softmax``, ``log-softmax`` or ``none``.
    width : int
        Numbers per row.
    """

    value: str
    raw: str
    link: str
    width: int


class Loss(NamedTuple):
    """A loss by its name, and its number where it has one.

    Attributes
    ----------
    name : str
        ``binary-cross-entropy``, ``cross-entropy``, ``squared`` (half the squared error), ``huber`` or ``quantile``.
    number : float
        Of ``huber``, from where it is linear; of ``quantile``, which one.
    """

    name: str
    number: float = 0.0

    @property
    def classifies(self) -> bool:
        """Whether it compares probabilities with a class."""
        return self.name.endswith("cross-entropy")

    def gradient(self, b: GraphBuilder, head: Head, target: str, share: str) -> str:
        """Add the gradient of the mean loss by ``head.raw``.

        Parameters
        ----------
        b : GraphBuilder
            Is added to.
        head : Head
            Where the network answers.
        target : str
            Name of the truth, in the shape of ``head.raw``.
        share : str
            Name of each row's part in the mean.
        """
        return b.op("Mul", _GRADIENTS[self.name](b, head, target, self.number), share)


def _cross_entropy(b: GraphBuilder, head: Head, target: str, number: float) -> str:
    """Of the sigmoid and of the softmax, by the numbers before it: probability minus truth."""
    if head.link == "none":
        shares = b.op("Sigmoid", head.raw) if head.width == 1 else b.op("Softmax", head.raw, axis=1)
    else:
        shares = b.op("Exp", head.value) if head.link == "log-softmax" else head.value
    return b.op("Sub", shares, target)


def _squared(b: GraphBuilder, head: Head, target: str, number: float) -> str:
    return b.op("Sub", head.raw, target)


def _huber(b: GraphBuilder, head: Head, target: str, number: float) -> str:
    """Huber, Robust Estimation of a Location Parameter, 1964."""
    limits = (b.like(-number, head.raw), b.like(number, head.raw))
    return b.op("Clip", b.op("Sub", head.raw, target), *limits)


def _quantile(b: GraphBuilder, head: Head, target: str, number: float) -> str:
    """Add the slope of the pinball loss of Koenker and Bassett, Regression Quantiles, 1978: 1 - q above, -q below."""
    half = b.op("Mul", b.op("Sign", b.op("Sub", head.raw, target)), b.like(0.5, head.raw))
    return b.op("Add", half, b.like(0.5 - number, head.raw))


_GRADIENTS: dict[str, Callable[[GraphBuilder, Head, str, float], str]] = {
    "binary-cross-entropy": _cross_entropy,
    "cross-entropy": _cross_entropy,
    "squared": _squared,
    "huber": _huber,
    "quantile": _quantile,
}
_DEFAULT_NUMBERS = {"huber": "1", "quantile": "0.5"}


def read_loss(text: str, classifies: bool) -> Loss:
    """Return the loss that an option names; an empty text is the usual one of the task.

    Raises
    ------
    ConfigError
        No such loss, one of another task, or a number that it cannot have.

    Examples
    --------
    >>> read_loss("quantile(0.9)", classifies=False)
    Loss(name='quantile', number=0.9)
    >>> read_loss("", classifies=True).name
    'cross-entropy'
    """
    where, known = "option 'loss'", [name for name in _GRADIENTS if Loss(name).classifies is classifies]
    found = _CALL.fullmatch(text.strip() or known[-1 if classifies else 0])
    name = found[1] if found else text
    if found is None or name not in known or (found[2] and name not in _DEFAULT_NUMBERS):
        shown = ", ".join(f"{each}(q)" if each == "quantile" else each for each in known)
        raise ConfigError([Problem(where, f"'{text}' is no loss of this task.", f"Known: {shown}.")])
    if name not in _DEFAULT_NUMBERS:
        return Loss(name)
    try:
        number = float(found[2] or _DEFAULT_NUMBERS[name])
    except ValueError:
        number = 0.0
    if not 0 < number < (1 if name == "quantile" else 1e9):
        remedy = "Give a number between 0 and 1." if name == "quantile" else "Give a number above 0."
        raise ConfigError([Problem(where, f"'{found[2]}' is not a number it can have.", remedy)])
    return Loss(name, number)


def find_head(network: Network, output: str, classifies: bool, where: str) -> Head:
    """Return where a network gives the numbers behind one of its outputs.

    Behind a label, a map of probabilities or a change of type lie probabilities; behind these, the numbers that
    a sigmoid or softmax made them of.

    Raises
    ------
    ConfigError
        There is nothing behind the output that can be differentiated.
    """
    value = output
    while (node := network.producers.get(value)) is not None and node.kind in _AFTER:
        value = next((name for name in node.inputs if name not in network.constants), node.inputs[0])
    value = _of_two_columns(network, value)
    node = network.producers.get(value)
    if node is not None and node.kind == "Exp":
        behind = network.producers.get(node.inputs[0])
        value, node = (node.inputs[0], behind) if behind is not None and behind.kind == "LogSoftmax" else (value, node)
    link = _LINKS.get(node.kind, "none") if node is not None and classifies else "none"
    raw = node.inputs[0] if node is not None and link != "none" else value
    shape = network.shapes.get(raw, ())
    if len(shape) not in (1, 2) or (shape[-1 if len(shape) == 2 else 0] is None and len(shape) == 2):
        what = f"gives '{raw}' of the shape {['n' if size is None else size for size in shape]}."
        raise ConfigError([Problem(where, what, "Export it with one row of numbers per event.")])
    return Head(value, raw, link, (shape[1] or 1) if len(shape) == 2 else 1)


def _of_two_columns(network: Network, value: str) -> str:
    """Return ``p`` where ``value`` is the columns ``1 - p`` and ``p``, as scikit-learn's converter writes them."""
    node = network.producers.get(value)
    if node is None or node.kind != "Concat" or len(node.inputs) != 2:
        return value
    first = network.producers.get(node.inputs[0])
    event = node.inputs[1]
    behind = network.producers.get(event)
    if first is not None and first.kind == "Sub" and first.inputs[1] == event and behind and behind.kind == "Sigmoid":
        return event
    return value
