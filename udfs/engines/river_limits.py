"""Where River's models grow without end, and what bounds each of them by default.

=========================  ==========================================================================================
what grows                 bound
=========================  ==========================================================================================
trees                      ``max_depth`` is MAX_DEPTH where the text does not give it (``max_depth=None``: no limit)
k-nearest neighbours       the window of ``neighbors.LazySearch``, which a model text must name
values of text features    the engine option ``max-values`` per feature: one-hot weights, groups of ``Agg``,
                           ``TargetAgg`` and ``Grouper``, ordinal codes, users and items
time series, HST, drift    River's own windows
words, Mondrian trees,     nothing of River's bounds them: the text gives rise to advice, and what is larger than
local outlier factor       ``max-model-size`` is not published and raises an alert
=========================  ==========================================================================================

A bound changes nothing until it is reached, and then the model is the one that River has with the same bound: with the
same ``max_depth``, or fed with ``(other)`` for each later value. ``max_size`` of trees is no such bound: it measures
Python objects, which differ in size from one version of Python to the next, and before and after a restore.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping

from river.feature_extraction import BagOfWords
from thalweg.udfs.engines.model_plan import Call, Literal, Plan, calls_of

__all__ = ["MAX_DEPTH", "growth_advice", "limits_of", "worded"]

MAX_DEPTH = 12
"""Levels of a tree: at most 4,096 leaves."""

_TREES = ("tree", "forest")
_ENDLESS: Mapping[str, str] = {
    "anomaly.LocalOutlierFactor": "keeps every event and gets slower with each: use anomaly.HalfSpaceTrees() for long"
    " streams.",
    "feature_extraction.BagOfWords": "gives a weight to every word there is: put preprocessing.FeatureHasher("
    "n_features=10000) | compose.Prefixer('h') behind it, unless the vocabulary is small.",
    "feature_extraction.TFIDF": "counts every word there is: use feature_extraction.BagOfWords() |"
    " preprocessing.FeatureHasher(n_features=10000) | compose.Prefixer('h'), unless the vocabulary is small.",
    "forest.AMFClassifier": "grows with every event: use forest.ARFClassifier() for long streams.",
    "forest.AMFRegressor": "grows with every event: use forest.ARFRegressor() for long streams.",
}


def limits_of(name: str, cls: type, given: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """Return the arguments that bound the growth of a class, where they were not given.

    Parameters
    ----------
    name : str
        The class, without ``river.``.
    cls : type
        The class itself.
    given : mapping
        The arguments that were given, by name; one that is None was given as well.

    Examples
    --------
    >>> from river import tree
    >>> limits_of("tree.HoeffdingTreeClassifier", tree.HoeffdingTreeClassifier, {})
    (('max_depth', 12),)
    """
    if name.split(".")[0] not in _TREES or "max_depth" in given:
        return ()
    return (("max_depth", MAX_DEPTH),) if "max_depth" in inspect.signature(cls).parameters else ()


def growth_advice(name: str, names: Collection[str]) -> str:
    """Return the sentence about a class that nothing bounds, or an empty text.

    Parameters
    ----------
    name : str
        The class, without ``river.``.
    names : collection of str
        All classes of the model.
    """
    hashed = name == "feature_extraction.BagOfWords" and "preprocessing.FeatureHasher" in names
    return f"{name}() {_ENDLESS[name]}" if name in _ENDLESS and not hashed else ""


def worded(plan: Plan, texts: list[str]) -> list[str]:
    """Return those of the text features that are taken apart into words, so that their whole is no value.

    Parameters
    ----------
    plan : Plan
        The model.
    texts : list of str
        Names of its text features.
    """
    found: set[str] = set()
    for call in calls_of(plan):
        if issubclass(call.cls, BagOfWords):
            on = _argument(call, "on")
            found.update(texts if on is None else [on])
    return [name for name in texts if name in found]


def _argument(call: Call, name: str) -> str | None:
    bound = inspect.signature(call.cls).bind(*call.args, **dict(call.kwargs)).arguments
    value = bound.get(name)
    return value.value if isinstance(value, Literal) and isinstance(value.value, str) else None
