"""Reads ``mlp(32, 16, embedding(carrier, 8))``: a network as text, parsed and never evaluated."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import Field

__all__ = ["Embedding", "MlpText", "is_mlp", "parse_mlp"]

_WIDEST, _DEEPEST, _LONGEST = 4096, 20, 10_000
_DEFAULT_ROWS = 1000
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "Elu", "leaky-relu": "LeakyRelu"}
_EXAMPLE = "Write it as mlp(32, 16, embedding(carrier, 8), activation='tanh')."


class Embedding(NamedTuple):
    """A column whose values are learned as vectors.

    Attributes
    ----------
    column : str
        Strings or integers.
    width : int
        Numbers per value.
    rows : int
        How many values have a vector of their own; all others share one.
    """

    column: str
    width: int
    rows: int


class MlpText(NamedTuple):
    """What a text says about a network.

    Attributes
    ----------
    layers : tuple of int
        Widths of the hidden layers.
    embeddings : tuple of Embedding
        In the order of the text.
    vectors : dict of str to int
        Columns that hold vectors, and how many numbers each has.
    activation : str
        ONNX operator between the layers.
    """

    layers: tuple[int, ...]
    embeddings: tuple[Embedding, ...]
    vectors: dict[str, int]
    activation: str


def is_mlp(text: str) -> bool:
    """Return whether a model text describes a network, instead of naming a file.

    Examples
    --------
    >>> is_mlp("mlp(8)"), is_mlp("/models/mlp.onnx")
    (True, False)
    """
    return text.lstrip().startswith("mlp(")


def parse_mlp(text: str, inputs: Sequence[Field]) -> MlpText:
    """Return what a text says; raises ConfigError listing all that is wrong with it.

    Parameters
    ----------
    text : str
        The model text.
    inputs : sequence of Field
        The declared features.

    Examples
    --------
    >>> parse_mlp("mlp(32, 16, embedding(carrier, 8))", [Field("carrier", "string")]).embeddings
    (Embedding(column='carrier', width=8, rows=1000),)
    """
    reader = _Reader(dict(inputs))
    if len(text) > _LONGEST:
        reader.refuse("is too long.", f"The limit is {_LONGEST} characters.")
    else:
        try:
            reader.read(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            reader.refuse("cannot be read.", _EXAMPLE)
    told = {embedding.column for embedding in reader.embeddings} | set(reader.vectors)
    for name, kind in inputs if not reader.problems else ():
        if name not in told and kind in ("string", "vector"):
            remedy = f"Add embedding({name}, 8)." if kind == "string" else f"Add vector({name}, 16), with its width."
            reader.problems.append(
                Problem(f"input '{name}'", f"is a {kind}, and the model text does not say how it is read.", remedy)
            )
    if reader.problems:
        raise ConfigError(reader.problems)
    return MlpText(tuple(reader.layers), tuple(reader.embeddings), reader.vectors, reader.activation)


class _Reader:
    def __init__(self, kinds: dict[str, str]) -> None:
        self._kinds = kinds
        self.problems: list[Problem] = []
        self.layers: list[int] = []
        self.embeddings: list[Embedding] = []
        self.vectors: dict[str, int] = {}
        self.activation = "Relu"

    def refuse(self, what: str, remedy: str) -> None:
        self.problems.append(Problem("model text", what, remedy))

    def read(self, tree: ast.expr) -> None:
        if _name(tree) != "mlp" or not isinstance(tree, ast.Call):
            self.refuse("is not one mlp(...).", _EXAMPLE)
            return
        for part in tree.args:
            if isinstance(part, ast.Call):
                self._column(part)
            elif (width := self._whole(part, "a hidden layer", _WIDEST)) is not None:
                self.layers.append(width)
        for keyword in tree.keywords:
            chosen = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg != "activation":
                self.refuse(f"has no setting '{keyword.arg}'.", "Known: activation.")
            elif not isinstance(chosen, str) or chosen not in ACTIVATIONS:
                self.refuse(f"'{chosen!s:.40}' is no activation.", f"Known: {', '.join(ACTIVATIONS)}.")
            else:
                self.activation = ACTIVATIONS[chosen]
        if len(self.layers) > _DEEPEST:
            self.refuse(f"has {len(self.layers)} hidden layers.", f"The limit is {_DEEPEST}.")

    def _column(self, call: ast.Call) -> None:
        kind, column = _name(call), _word(call.args[0]) if call.args else None
        least, most = {"embedding": (2, 3), "vector": (2, 2)}.get(kind or "", (0, 0))
        if not most:
            self.refuse(
                f"'{ast.unparse(call)[:60]}' is no part of a network.",
                "Known: embedding(column, width[, rows]), vector(column, width).",
            )
            return
        if column is None or call.keywords or not least <= len(call.args) <= most:
            self.refuse(
                f"'{ast.unparse(call)[:60]}' cannot be read.",
                "Write embedding(column, width[, rows]) or vector(column, width).",
            )
            return
        fitting = ("string", "integer") if kind == "embedding" else ("vector",)
        if self._kinds.get(column) not in fitting:
            found = f"is a {self._kinds[column]}" if column in self._kinds else "is not declared"
            self.refuse(
                f"{kind} of '{column}': that input {found}.", f"Name an input that is a {' or '.join(fitting)}."
            )
        elif column in self.vectors or column in (each.column for each in self.embeddings):
            self.refuse(f"names '{column}' twice.", "Name it once.")
        limits = ((f"the width of '{column}'", _WIDEST), (f"the rows of '{column}'", 10_000_000))
        numbers = [self._whole(part, *limit) for part, limit in zip(call.args[1:], limits, strict=False)]
        width, rows = [*(number or 1 for number in numbers), _DEFAULT_ROWS][:2]
        if kind == "embedding":
            self.embeddings.append(Embedding(column, width, rows))
        else:
            self.vectors[column] = width

    def _whole(self, node: ast.expr, what: str, most: int) -> int | None:
        value = node.value if isinstance(node, ast.Constant) else None
        if type(value) is int and 0 < value <= most:
            return value
        self.refuse(f"'{ast.unparse(node)[:60]}' is not {what}.", f"Give a whole number from 1 to {most}.")
        return None


def _name(node: ast.expr) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _word(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
