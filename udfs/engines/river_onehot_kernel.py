"""The next commonest River pipeline as one tight loop: numbers scaled, texts one-hot, into a linear model.

As in ``river_kernel``, every arithmetic operation is River's own, in River's order. Scoring sums in the order of the
features; learning in the order in which the weights came to be, for so River's ``VectorDict`` does. River walks over
all weights for each row it learns; here a row costs what its own features cost, however many categories there are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from river import compose, preprocessing
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.river_kernel import LinearKernel, LinearSettings, linear_settings

__all__ = ["OneHotKernel"]

_LENGTH = struct.Struct("<I")
_TYPES = {"number": float, "integer": int, "boolean": bool, "string": str}


class _Feature(NamedTuple):
    """One feature, in the order in which the linear model sees them."""

    at: int  # where it stands in a row
    term: str  # the name of its term; of a category, what comes before the value
    scaled_at: int | None  # where its mean stands; None: a category
    branch: str


class OneHotKernel(LinearKernel):
    """Scales numbers, looks up categories, predicts and learns; for rows that always carry the same features."""

    def __init__(self, settings: LinearSettings, features: Sequence[_Feature]) -> None:
        super().__init__(settings)
        self._features = tuple(features)
        self._places: dict[str, int] = {}  # where the weight of a term stands, in the order in which terms came
        self._weights = []

    @classmethod
    def of_union(cls, model: Any, inputs: Sequence[Field]) -> OneHotKernel | None:
        """Return the loop for a model that has learned nothing, or None where its shape or settings are not plain."""
        if type(model) is not compose.Pipeline or len(model.steps) != 2:
            return None
        union, linear = model.steps.values()
        if type(union) is not compose.TransformerUnion:
            return None
        features: list[_Feature] = []
        width = 0
        # The dictionary of a union begins with what its last branch gives.
        for name, branch in reversed(union.transformers.items()):
            found = _branch(branch, inputs)
            if found is None:
                return None
            scaled, chosen = found
            for at in chosen:
                term = inputs[at].name if scaled else f"{inputs[at].name}_"
                features.append(_Feature(at, term, width if scaled else None, name))
                width += scaled
        settings = linear_settings(linear, width)
        return None if settings is None or _may_collide(features) else cls(settings, features)

    def fresh(self) -> OneHotKernel:
        """Return the loop of another model with the same settings, which has learned nothing."""
        return OneHotKernel(self._settings, self._features)

    def pack(self) -> bytes:
        """Return the state as bytes."""
        names = json.dumps(list(self._places), ensure_ascii=False, separators=(",", ":"))
        text = names.encode("utf-8", "surrogatepass")
        return _LENGTH.pack(len(text)) + text + super().pack()

    def unpack(self, state: bytes) -> None:
        """Take the state that ``pack`` wrote; raises ValueError."""
        if len(state) < _LENGTH.size:
            raise ValueError("it ends too early")
        end = _LENGTH.size + _LENGTH.unpack_from(state)[0]
        names = json.loads(state[_LENGTH.size : end].decode("utf-8", "surrogatepass"))
        if type(names) is not list or not all(type(name) is str for name in names) or len(set(names)) != len(names):
            raise ValueError("its names are not a list of different texts")
        self._places = {name: place for place, name in enumerate(names)}
        self._weights = [0.0] * len(names)
        super().unpack(state[end:])

    def categories(self) -> dict[str, tuple[str, ...]]:
        """Return the values of the categories that have a weight, by feature."""
        found: dict[str, tuple[str, ...]] = {}
        for _, term, scaled_at, _ in self._features:
            if scaled_at is None:
                found[term[:-1]] = tuple(name[len(term) :] for name in self._places if name.startswith(term))
        return found

    def raw(self, values: Sequence[Any]) -> float:
        """Return the dot product of weights and terms, plus the intercept."""
        total = 0.0
        place_of, weights = self._places.get, self._weights
        for at, term, scaled_at, _ in self._features:
            x = values[at]
            if scaled_at is None:
                place = place_of(f"{term}{x}")
                if place is not None:
                    total += weights[place]
            elif (place := place_of(term)) is not None:
                deviation = self._deviations[scaled_at]
                total += weights[place] * ((x - self._means[scaled_at]) / deviation if deviation else 0.0)
        return total + self._intercept

    def learn(self, values: Sequence[Any], label: float) -> None:
        """Learn from one row."""
        self._count += 1
        places, weights = self._places, self._weights
        terms: list[tuple[int, float]] = []
        for at, term, scaled_at, _ in self._features:
            if scaled_at is None:
                term, z = f"{term}{values[at]}", 1.0
            else:
                z = self._scale(scaled_at, values[at])
            place = places.get(term)
            if place is None:
                place = places[term] = len(weights)
                weights.append(0.0)
            terms.append((place, z))
        terms.sort()
        total = 0.0
        for place, z in terms:
            total += weights[place] * z
        gradient, rate = self._descend(total + self._intercept, label), self._rate
        for place, z in terms:
            weights[place] -= z * gradient * rate

    def fill(self, model: Any, names: Sequence[str]) -> None:
        """Write the state into a River model that has learned nothing."""
        if not self._count:
            return
        union, linear = model.steps.values()
        for feature in self._features:
            if feature.scaled_at is not None:
                *_, scaler = union.transformers[feature.branch].steps.values()
                self._fill_scaler(scaler, [(feature.scaled_at, feature.term)])
        for term, place in self._places.items():
            linear._weights[term] = self._weights[place]  # noqa: SLF001
        self._fill_linear(linear)


def _branch(branch: Any, inputs: Sequence[Field]) -> tuple[bool, list[int]] | None:
    """Return whether a branch of a union scales its features, and where they stand; None where it is not plain."""
    if type(branch) is not compose.Pipeline or len(branch.steps) != 2:
        return None
    select, last = branch.steps.values()
    scaled = type(last) is preprocessing.StandardScaler and last.with_std
    one_hot = type(last) is preprocessing.OneHotEncoder and last.drop_zeros and not last.drop_first
    if not (scaled or one_hot):
        return None
    at = {field.name: place for place, field in enumerate(inputs)}
    if type(select) is compose.Select:
        chosen = [at.get(name, -1) for name in select.keys]
    elif type(select) is compose.SelectType:
        chosen = [place for place, field in enumerate(inputs) if issubclass(_TYPES[field.kind], select.types)]
    else:
        return None
    plain = all(place >= 0 and (one_hot or inputs[place].kind != "string") for place in chosen)
    return (scaled, chosen) if plain else None


def _may_collide(features: Sequence[_Feature]) -> bool:
    """Return whether two features could give terms of one name, which are one term to River."""
    return any(
        a is not b and (a.term == b.term or (a.scaled_at is None and b.term.startswith(a.term)))
        for a in features
        for b in features
    )
