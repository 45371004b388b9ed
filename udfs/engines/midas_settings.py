"""The options of MIDAS: read and checked, all that is wrong at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.choices import one_of, read_options, whole
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.engines.gate import Gate
from thalweg.udfs.engines.midas_kernel import FILTERING, NORMAL, RELATIONAL

__all__ = ["DEFAULTS", "MidasSettings", "settings_of"]

_VARIANTS = {"normal": NORMAL, "relational": RELATIONAL, "filtering": FILTERING}
DEFAULTS = {
    "variant": "normal",
    "num-rows": "2",
    "num-columns": "1024",
    "threshold": "1000",
    "factor": "0.5",
    "tick": "60 s",
    "decay": "elapsed",
    "quantile": "",
    "seed": "0",
}
_LARGEST = 1 << 30  # bytes of sketches
_OUTPUTS = ("number", "integer", "boolean")
_USELESS = {"threshold": (NORMAL, RELATIONAL), "factor": (NORMAL,)}


@dataclass(frozen=True)
class MidasSettings:
    """A checked spec.

    Attributes
    ----------
    variant : int
        ``midas_kernel.NORMAL``, ``RELATIONAL`` or ``FILTERING``.
    rows, columns : int
        Of each count-min sketch.
    threshold, factor : float
        From which score MIDAS-F keeps a count out of the total; what a tick leaves of a count.
    tick_ms : int
        Length of a tick.
    elapsed : bool
        Whether counts decay by elapsed ticks, or once per tick that has an edge.
    quantile : float or None
        Above which quantile of the scores an edge is labelled ``true``; None, no edge has a label.
    seed : int
        Of the hashes.
    texts : tuple of bool
        Whether source and destination are texts.
    gate : Gate
        Checks a row.
    digest : bytes
        Eight bytes that stand for what a snapshot must agree with: all but threshold and quantile, which may change.
    """

    variant: int
    rows: int
    columns: int
    threshold: float
    factor: float
    tick_ms: int
    elapsed: bool
    quantile: float | None
    seed: int
    texts: tuple[bool, bool]
    gate: Gate
    digest: bytes

    @property
    def sketches(self) -> int:
        """How many sketches there are: of edges; of edges, sources and destinations."""
        return 1 if self.variant == NORMAL else 3

    @property
    def fields(self) -> int:
        """How many numbers a cell of a sketch has."""
        return 4 if self.variant == FILTERING else 3

    @property
    def cells(self) -> int:
        """How many numbers all sketches have."""
        return self.sketches * self.rows * self.columns * self.fields


@lru_cache(maxsize=256)
def settings_of(spec: EngineSpec) -> MidasSettings:
    """Check a spec.

    Raises
    ------
    ConfigError
        Everything that is wrong with it.
    """
    problems = spec.problems("MIDAS", tuple(DEFAULTS)) + _misdeclared(spec)
    values = read_options(spec, _READERS, DEFAULTS, problems)
    variant = _VARIANTS[values["variant"]]
    for name, _ in spec.params:
        if variant in _USELESS.get(name, ()):
            remedy = "Remove it, or give another 'variant'."
            problems.append(Problem(f"option '{name}'", f"means nothing to the variant {values['variant']}.", remedy))
    kinds = [field.kind for field in spec.inputs[:2]]
    identity = [spec.inputs, *(values[name] for name in values if name not in ("threshold", "quantile"))]
    settings = MidasSettings(
        variant=variant,
        rows=values["num-rows"],
        columns=values["num-columns"],
        threshold=values["threshold"],
        factor=values["factor"],
        tick_ms=values["tick"],
        elapsed=values["decay"] == "elapsed",
        quantile=values["quantile"],
        seed=values["seed"],
        texts=(kinds[:1] == ["string"], kinds[1:] == ["string"]),
        gate=Gate(spec.inputs, skip_null=False),
        digest=hashlib.sha256(json.dumps(identity).encode("utf-8", "surrogatepass")).digest()[:8],
    )
    if 8 * settings.cells > _LARGEST:
        what = f"the sketches would have {8 * settings.cells:,} bytes, more than {_LARGEST:,}."
        problems.append(Problem("option 'num-columns'", what, "Give fewer columns or rows."))
    if problems:
        raise ConfigError(problems)
    return settings


def _misdeclared(spec: EngineSpec) -> list[Problem]:
    problems = []
    if spec.task != "anomaly":
        problems.append(Problem(f"task '{spec.task}'", "MIDAS has no such task.", "Declare 'task' = 'anomaly'."))
    if spec.model not in ("", "midas"):
        remedy = "Write 'model' = 'midas'; the option 'variant' says which of the three it is."
        problems.append(Problem(f"model '{spec.model[:80]}'", "is not a model of this engine.", remedy))
    remedy = "Declare INPUT (source STRING or BIGINT, destination STRING or BIGINT, time BIGINT), the time in epoch ms."
    if len(spec.inputs) != 3:
        problems.append(Problem("INPUT", f"has {len(spec.inputs)} columns, an edge has three.", remedy))
    for at, (name, kind) in enumerate(spec.inputs[:3]):
        if kind != "integer" and (at == 2 or kind != "string"):
            what = f"is {kind}, which no {'time' if at == 2 else 'node'} can be."
            problems.append(Problem(f"input '{name}'", what, remedy))
    if spec.output.kind not in _OUTPUTS:
        what = f"is {spec.output.kind}, which no score is."
        problems.append(Problem(f"output '{spec.output.name}'", what, "Declare OUTPUT (... DOUBLE) or BOOLEAN."))
    return problems


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text}' is not a number.") from None
        if not isfinite(value) or not least <= value <= most:
            raise ValueError(f"'{text}' is not from {least:g} to {most:g}.")
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "variant": one_of(*_VARIANTS),
    "num-rows": whole(1, 16),
    "num-columns": whole(1, 1 << 24),
    "threshold": _number(0, 1e300),
    "factor": _number(0, 1),
    "tick": parse_duration_ms,
    "decay": one_of("elapsed", "per-tick"),
    "quantile": lambda text: _number(0.5, 0.999999)(text) if text else None,
    "seed": whole(0, 999_999_999),
}
