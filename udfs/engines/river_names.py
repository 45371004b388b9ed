"""Which River classes a model text may name, and what is known to go wrong with some of them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module

from thalweg.connector.errors import Problem
from thalweg.udfs.engines import river_order  # noqa: F401  before any River model is made
from thalweg.udfs.engines.model_plan import Literal

__all__ = ["MODULES", "VALUE_TYPES", "advise", "lacks", "resolve"]

MODULES = (
    "anomaly",
    "bandit",
    "cluster",
    "compose",
    "conf",
    "drift",
    "drift.binary",
    "dummy",
    "ensemble",
    "facto",
    "feature_extraction",
    "feature_selection",
    "forest",
    "imblearn",
    "linear_model",
    "metrics",
    "model_selection",
    "multiclass",
    "naive_bayes",
    "neighbors",
    "neural_net",
    "neural_net.activations",
    "optim",
    "optim.initializers",
    "optim.losses",
    "optim.schedulers",
    "preprocessing",
    "proba",
    "reco",
    "rules",
    "stats",
    "time_series",
    "tree",
    "tree.splitter",
    "utils",
)
"""Modules of River that hold models and their parts; none of them touches a file or the network."""

VALUE_TYPES: Mapping[str, type] = {"bool": bool, "float": float, "int": int, "str": str}
"""Builtin types that may be named, for ``compose.SelectType`` and ``preprocessing.Binarizer``."""

_CODE = "it takes a function, and code has no place in a model text"
_GLOBAL = "it keeps part of its state in a class variable, which all models of the process share and no snapshot holds"
_UNFIT: Mapping[str, tuple[str, str]] = {
    "compose.FuncTransformer": (_CODE, "Compute the feature in SQL."),
    "compose.TargetTransformRegressor": (
        _CODE,
        "Use preprocessing.TargetStandardScaler, or transform the label in SQL.",
    ),
    "time_series.HorizonAggMetric": (_CODE, "Leave it out."),
    "cluster.ODAC": ("it clusters features, not rows", "Use cluster.KMeans() or cluster.DBSTREAM()."),
    "tree.iSOUPTreeRegressor": ("it predicts several numbers at once", "Use tree.HoeffdingTreeRegressor()."),
    "neighbors.SWINN": (_GLOBAL, "Use neighbors.LazySearch(window_size=200)."),
    "reco.RandomNormal": ("its predictions are dice", "Use reco.Baseline()."),
    "utils.TimeRolling": ("it wants the time of each event, which River's pipelines do not pass", "Use utils.Rolling."),
    "utils.SortedWindow": ("it is a container, not a part of a model", "Leave it out."),
    "utils.VectorDict": ("it is a container, not a part of a model", "Leave it out."),
}
_NEIGHBOURS = ("neighbors.KNNClassifier", "neighbors.KNNRegressor")


def resolve(name: str) -> type | Problem:
    """Return the River class ``name`` stands for, or the problem with it.

    Parameters
    ----------
    name : str
        Such as ``optim.losses.Huber``; the prefix ``river.`` is allowed.

    Examples
    --------
    >>> resolve("optim.SGD").__name__
    'SGD'
    >>> resolve("preprocessing.StandardScalar").remedy
    'Did you mean preprocessing.StandardScaler?'
    """
    path = name.removeprefix("river.")
    module, _, last = path.rpartition(".")
    if path in _UNFIT:
        reason, remedy = _UNFIT[path]
        return Problem("", f"'{path}' cannot be used: {reason}.", remedy)
    if any(part.startswith("_") for part in path.split(".")):
        return Problem("", f"'{path}' is private.", "Name a public class.")
    if module in MODULES and last in (found := _classes(module)):
        return found[last]
    if module and module not in MODULES:
        root = module.split(".")[0]
        what = f"'{name}': River's module '{module}' is not open to model texts."
        if root not in MODULES:
            return Problem("", what, _suggest(path) or f"Open are: {', '.join(m for m in MODULES if '.' not in m)}.")
    return Problem(
        "", f"'{name}' is no class of River that a model text may name.", _suggest(path) or "Check the name."
    )


def lacks(name: str, given: Mapping[str, object]) -> Problem | None:
    """Return the problem with a call whose defaults cannot be used, or None.

    Parameters
    ----------
    name : str
        The class, without ``river.``.
    given : mapping
        The arguments that were given, by name.
    """
    if name in _NEIGHBOURS and "engine" not in given:
        what = f"{name}: its default search, neighbors.SWINN, cannot be used: {_GLOBAL}."
        return Problem("", what, "Give engine=neighbors.LazySearch(window_size=200).")
    if name == "cluster.TextClust" and given.get("real_time_fading") != Literal(False):
        what = f"{name}: its default, to fade by the clock, wants the time of each event, which pipelines do not pass."
        return Problem("", what, "Give real_time_fading=False: it fades by events.")
    return None


def _classes(module: str) -> dict[str, type]:
    loaded = import_module(f"river.{module}")
    public = [name for name in vars(loaded) if not name.startswith("_")]
    named = getattr(loaded, "__all__", public)
    found = {name: getattr(loaded, name, None) for name in named}
    return {
        name: item
        for name, item in found.items()
        if inspect.isclass(item) and item.__module__.startswith("river.") and not inspect.isabstract(item)
    }


def _suggest(path: str) -> str:
    names = [f"{module}.{name}" for module in MODULES for name in _classes(module) if f"{module}.{name}" not in _UNFIT]
    last = path.rpartition(".")[2].lower()
    close = [name for name in names if name.rpartition(".")[2].lower() == last]
    close = close or difflib.get_close_matches(path, names, n=1, cutoff=0.7)
    if not close:
        by_last = {name.rpartition(".")[2].lower(): name for name in names}
        close = [by_last[key] for key in difflib.get_close_matches(last, by_last, n=1, cutoff=0.8)]
    return f"Did you mean {close[0]}?" if close else ""


def advise(calls: Iterable[tuple[str, frozenset[str], Mapping[str, object]]]) -> Iterator[str]:
    """Yield one sentence for every setting that is legal and known to go wrong.

    Parameters
    ----------
    calls : iterable of (str, frozenset of str, mapping)
        Per constructor: its name, the names given by keyword, and its bound arguments.
    """
    calls = list(calls)
    names = [name for name, _, _ in calls]
    for name, _, bound in calls:
        if name == "preprocessing.OneHotEncoder" and not bound.get("drop_zeros"):
            yield (
                "preprocessing.OneHotEncoder() writes a zero for every value ever seen, so each event gets slower as "
                "values arrive: use drop_zeros=True."
            )
        if name == "anomaly.HalfSpaceTrees" and not bound.get("limits") and "preprocessing.MinMaxScaler" not in names:
            yield (
                "anomaly.HalfSpaceTrees() takes every feature to lie between 0 and 1 and scores others as normal: put "
                "preprocessing.MinMaxScaler() before it, or give limits={'feature': (low, high)}."
            )
        if name == "anomaly.ThresholdFilter" and bound.get("protect_anomaly_detector") is False:
            yield (
                "anomaly.ThresholdFilter(protect_anomaly_detector=False) never learns, in River itself: leave that"
                " argument out, or use the option 'threshold' without a filter."
            )
        if name in ("linear_model.LinearRegression", "linear_model.LogisticRegression") and not any(
            "Scaler" in other or "Normalizer" in other for other in names
        ):
            yield (
                f"{name}() explodes on features that are not near 1 in size: put preprocessing.StandardScaler() "
                "before it."
            )
