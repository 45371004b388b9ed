"""The names a pickled River model may use, and a harmless dummy for each, for the dry run."""

from __future__ import annotations

import collections
import copy
import functools
import inspect
import operator
import random
import re
import statistics
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines import river_mends  # noqa: F401  before a class of River is looked up

__all__ = ["Dummy", "bound", "dummy", "real"]

_CLOSED = frozenset({"api", "checks", "compat", "datasets", "evaluate", "stream"})
_MODULE = re.compile(r"river(?:\.(?!test_|conftest)[A-Za-z_]\w*)+\Z")
_UNPICKLE = re.compile(r"__pyx_unpickle_[A-Za-z]\w*\Z")

_CONTAINERS: dict[tuple[str, str], Any] = {
    ("collections", "Counter"): collections.Counter,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("collections", "deque"): collections.deque,
    ("functools", "partial"): functools.partial,
    ("builtins", "range"): range,
    ("operator", "itemgetter"): operator.itemgetter,
}
# Named, never called by the pickle itself: factories of default dictionaries, types to select by.
_VALUES: dict[tuple[str, str], Any] = {
    **{("builtins", kind.__name__): kind for kind in (bool, dict, float, int, list, set, str, tuple)},
    ("copy", "deepcopy"): copy.deepcopy,
}
_FUNCTIONS = frozenset(
    {
        ("river.feature_extraction.vectorize", "strip_accents_unicode"),
        ("river.feature_extraction.vectorize", "tokenize_using_regex_pattern"),
        ("river.feature_extraction.vectorize", "remove_stop_words"),
        ("river.feature_extraction.vectorize", "find_ngrams"),
        ("river.feature_extraction.vectorize", "find_all_ngrams"),
        ("river.forest.online_extra_trees", "ExtraTrees._detection_mode_all"),
        ("river.forest.online_extra_trees", "ExtraTrees._detection_mode_drop"),
        ("river.forest.online_extra_trees", "ExtraTrees._detection_mode_off"),
        ("river.preprocessing.ordinal", "make_counter"),
        ("river.tree.splitter.ebst_splitter", "EBSTNode._update_estimator_multivariate"),
        ("river.tree.splitter.ebst_splitter", "EBSTNode._update_estimator_univariate"),
        ("river.tree.splitter.nominal_splitter_reg", "NominalSplitterReg._update_estimator_multivariate"),
        ("river.tree.splitter.nominal_splitter_reg", "NominalSplitterReg._update_estimator_univariate"),
        ("river.tree.splitter.qo_splitter", "FeatureQuantizer._update_estimator_multivariate"),
        ("river.tree.splitter.qo_splitter", "FeatureQuantizer._update_estimator_univariate"),
        ("river.utils.math", "minkowski_distance"),
    }
)
# Instances of these are made and given their state as River's own are.
_CLASSES: dict[tuple[str, str], Any] = {("statistics", "NormalDist"): statistics.NormalDist}
_NESTED = frozenset(
    {
        ("river.cluster.denstream", "DenStream.BufferItem"),
        *(("river.cluster.textclust", f"TextClust.{name}") for name in ("distances", "microcluster", "tfcontainer")),
    }
)


class _Sealed(type):
    """A class that pickle may instantiate with NEWOBJ alone, so that no constructor runs."""

    def __call__(cls, *args: object, **kwargs: object) -> Any:
        if cls is Dummy:  # a foreign name: the run goes on to find the others, and is refused at its end
            return object.__new__(Dummy)
        raise SnapshotError("a class is called that no dump calls.")


class Dummy(metaclass=_Sealed):
    """Stands for a class during the dry run: can be made and given a state, and does nothing."""

    def __new__(cls, *args: object) -> Dummy:
        """Make one, whatever the arguments."""
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        for part in state if type(state) is tuple and len(state) == 2 else (state,):
            # A name of Python's own machinery as an attribute would be called by copy and pickle later.
            if type(part) is dict and any(type(name) is not str or name.startswith("__") for name in part):
                raise SnapshotError("an object in it carries a name of Python's own machinery.")

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Refuse: a dump calls only containers."""
        raise SnapshotError("something is called that no dump calls.")


class _River(Dummy):
    """Stands for any class of River."""


class _DummyValue(Dummy):
    def __setstate__(self, state: object) -> None:
        raise SnapshotError("a state is given to a function.")


def _made(*args: object) -> Dummy:
    return object.__new__(Dummy)


class _Stateless:
    def __setstate__(self, state: object) -> None:
        raise SnapshotError("a state is given to a container.")


class _Counter(_Stateless, collections.Counter[Any]):
    def __init__(self, counts: dict[Any, Any] | None = None) -> None:
        if counts is not None and (type(counts) is not dict or _COPIED in counts):
            raise SnapshotError("a counter in it is filled from what is no dictionary of its own.")
        super().__init__(counts or {})
        if counts is not None:
            counts[_COPIED] = 0


class _OrderedDict(_Stateless, collections.OrderedDict[Any, Any]):
    def __init__(self) -> None:
        super().__init__()


class _Default(_Stateless, collections.defaultdict[Any, Any]):
    def __init__(self, factory: Any = None) -> None:
        super().__init__(factory)


class _Deque(_Stateless, collections.deque[Any]):
    def __init__(self, items: Any = (), maxlen: int | None = None) -> None:
        if type(items) not in (tuple, list) or items:
            raise SnapshotError("a deque in it is filled by a call.")
        super().__init__((), maxlen)


def _range(start: int, stop: int, step: int = 1) -> range:
    if not 0 <= start <= stop <= _LONGEST_RANGE or step != 1:
        raise SnapshotError("a range in it is longer than a phrase of words.")
    return range(start, stop)


_LONGEST_RANGE = 100  # the words of an n-gram
_COPIED = object()
# Containers that a pickle fills item by item; where it hands over items in a call, a few bytes could copy very many.
_DUMMY_CONTAINERS: dict[tuple[str, str], Any] = {
    **_CONTAINERS,
    ("collections", "Counter"): _Counter,
    ("collections", "OrderedDict"): _OrderedDict,
    ("collections", "defaultdict"): _Default,
    ("collections", "deque"): _Deque,
    ("builtins", "range"): _range,
}


def dummy(module: str, name: str) -> Any:
    """Return what stands for ``module.name`` during the dry run; ``Dummy`` itself if the name is not allowed."""
    key = module, name
    if key in _DUMMY_CONTAINERS:
        return _DUMMY_CONTAINERS[key]
    if key in _VALUES or key in _FUNCTIONS:
        return object.__new__(_DummyValue)
    found = _CLASSES.get(key) or _river(module, name)
    if found is None:
        return Dummy
    if not inspect.isclass(found):
        return _made
    return _River


def bound(owner: Any, name: str) -> Any:
    """Return the method ``name`` of ``owner``: a generator of random numbers, a River object, or ``str`` itself."""
    if isinstance(owner, Dummy) and not name.startswith("__"):
        return owner
    if type(owner) is random.Random:
        return getattr(owner, name)
    if owner is str and name == "lower":
        return str.lower
    found = inspect.getattr_static(type(owner), name, None)
    if not name.startswith("__") and isinstance(found, FunctionType) and found.__module__.startswith("river."):
        return MethodType(found, owner)
    raise SnapshotError(f"it binds a method, {name!r}, that no model needs.")


@functools.cache
def real(module: str, name: str) -> Any:
    """Return the object behind an allowed name."""
    key = module, name
    for table in (_CONTAINERS, _VALUES, _CLASSES):
        if key in table:
            return table[key]
    found = operator.attrgetter(name)(import_module(module)) if key in _FUNCTIONS else _river(module, name)
    if found is None:
        raise SnapshotError(f"the snapshot names what no model needs: {module}.{name}.")
    return found


@functools.cache
def _river(module: str, name: str) -> Any:
    """Return a class of River's open packages, or the function that makes an instance of one of its C classes."""
    if not _MODULE.match(module) or module.split(".")[1] in _CLOSED:
        return None
    try:
        loaded = import_module(module)
    except ImportError:
        return None
    if (module, name) in _NESTED:
        return operator.attrgetter(name)(loaded)
    found = vars(loaded).get(name)
    if _UNPICKLE.match(name) and callable(found):
        return found
    return found if inspect.isclass(found) and found.__module__ in (module, "builtins") else None
