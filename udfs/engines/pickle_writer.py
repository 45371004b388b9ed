"""River models to bytes, the same bytes for the same state.

Plain pickle does not promise that: its bytes depend on which equal texts happen to be one object and on the order of
sets, which differs from process to process. Here every text, tuple, set, array and random generator is written by
value.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import random
from collections import defaultdict
from collections.abc import Callable
from sys import intern
from types import BuiltinMethodType, MethodDescriptorType, MethodType
from typing import Any, TypeAlias

import numpy as np
from river.proba import Beta, Gaussian
from river.tree.mondrian.mondrian_tree_nodes import MondrianBranchClassifier, MondrianLeafClassifier
from thalweg.connector.errors import ModelError
from thalweg.udfs.engines import pickle_form as form
from thalweg.udfs.engines.river_order import InOrder

__all__ = ["dumps"]

_SHORT = 64  # characters; in UTF-8 no text below it is longer than form.INLINE
_IDLE = random.Random(0)  # noqa: S311


def _reduce_idle(obj: Gaussian | Beta) -> tuple[Any, ...]:
    # Trees and naive Bayes hold thousands of Gaussians and never draw from them, nor does BayesUCB from its Betas. Each
    # has a generator of 2.5 kB, seeded by the machine's entropy when no seed was given: two thirds of a tree's
    # bytes, and never twice the same.
    state = obj.__dict__ if obj.seed is not None else {**obj.__dict__, "_rng": _IDLE}
    return copyreg.__newobj__, (type(obj),), state  # type: ignore[attr-defined]


def _reduce_mondrian(obj: Any) -> tuple[Any, ...]:
    # Asking a Mondrian tree leaves zeros in its counts, which mean nothing and are only ever looked up.
    counts = {label: count for label, count in sorted(obj.counts.items(), key=repr) if count}
    state = {**obj.__dict__, "counts": defaultdict(int, counts)}
    return copyreg.__newobj__, (type(obj),), state  # type: ignore[attr-defined]


_REDUCE: dict[type, Any] = {
    **copyreg.dispatch_table,
    Beta: _reduce_idle,
    Gaussian: _reduce_idle,
    MondrianBranchClassifier: _reduce_mondrian,
    MondrianLeafClassifier: _reduce_mondrian,
}


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
        self.dispatch_table = _REDUCE
        self.buffers: list[bytes] = []
        self._shared: dict[int, tuple[Any, int]] = {}

    def persistent_id(self, obj: Any) -> Any:
        kind = type(obj)  # this runs for every object of the model, hence the shape
        if kind is str and len(obj) < _SHORT:
            # Equal texts must be one object, or the memo would tell whether a model has been restored before.
            return intern(obj)
        write = _WRITERS[kind]
        return None if write is None else write(self, obj)

    def put_text(self, obj: str) -> Any:
        data = obj.encode("utf-8", "surrogatepass")
        return [form.TEXT, self._buffer(data)] if len(data) > form.INLINE else intern(obj)

    def _buffer(self, data: bytes) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1

    def _once(self, obj: Any) -> tuple[int, bool]:
        """Return the number of a shared object, and whether it is new."""
        number = len(self._shared)
        found = self._shared.setdefault(id(obj), (obj, number))[1]
        return found, found == number

    def put_tuple(self, obj: tuple[Any, ...]) -> Any:
        return [form.TUPLE, *obj] if obj else None

    def put_set(self, obj: set[Any]) -> list[Any]:
        number, new = self._once(obj)
        return [form.SET, number, *_sorted(obj)] if new else [form.SET, number]

    def put_ordered(self, obj: InOrder) -> list[Any]:
        number, new = self._once(obj)
        return [form.ORDERED, number, *obj] if new else [form.ORDERED, number]

    def put_frozenset(self, obj: frozenset[Any]) -> list[Any]:
        return [form.FROZENSET, *_sorted(obj)]

    def put_bytes(self, obj: bytes) -> list[Any]:
        return [form.BYTES, self._buffer(obj)]

    def put_array(self, obj: np.ndarray[Any, Any]) -> list[Any]:
        number, new = self._once(obj)
        if not new:
            return [form.ARRAY, number]
        if obj.dtype.hasobject and obj.dtype.str == "|O":
            return self.put_object_array(obj, number)
        if not form.DTYPES.match(obj.dtype.str):
            raise ModelError(f"an array of type {obj.dtype} inside the model cannot be written to a snapshot.")
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        data = self._buffer(obj.tobytes(order))  # type: ignore[arg-type]
        return [form.ARRAY, number, obj.dtype.str, order, data, *obj.shape]

    def put_random(self, obj: random.Random) -> list[Any]:
        number, new = self._once(obj)
        if not new:
            return [form.RANDOM, number]
        _, words, gauss = obj.getstate()
        return [form.RANDOM, number, self._buffer(form.WORDS.pack(*words)), gauss]

    def put_state(self, obj: np.random.RandomState) -> list[Any]:
        number, new = self._once(obj)
        if not new:
            return [form.STATE, number]
        _, words, position, has_gauss, gauss = obj.get_state()
        return [
            form.STATE,
            number,
            self._buffer(np.asarray(words, dtype="<u4").tobytes()),
            int(position),
            int(has_gauss),
            float(gauss),
        ]

    def put_object_array(self, obj: np.ndarray[Any, Any], number: int) -> list[Any]:
        return [form.ARRAY, number, "|O", obj.ravel().tolist(), *obj.shape]

    def put_scalar(self, obj: np.generic) -> list[Any]:
        return [form.SCALAR, obj.dtype.str, obj.tobytes()]

    def put_dtype(self, obj: np.dtype[Any]) -> list[Any]:
        return [form.DTYPE, obj.str]

    def put_method(self, obj: Any) -> list[Any]:
        return [form.METHOD, obj.__self__, obj.__name__]

    def put_slot(self, obj: Any) -> list[Any]:
        return [form.METHOD, obj.__objclass__, obj.__name__]


_Put: TypeAlias = "Callable[[_Writer, Any], Any] | None"


class _Writers(dict[type, _Put]):
    def __missing__(self, kind: type) -> _Put:
        put: _Put = None
        if issubclass(kind, np.generic):
            put = _Writer.put_scalar
        elif issubclass(kind, np.dtype):
            put = _Writer.put_dtype
        self[kind] = put
        return put


_WRITERS = _Writers(
    {
        str: _Writer.put_text,
        tuple: _Writer.put_tuple,
        set: _Writer.put_set,
        InOrder: _Writer.put_ordered,
        frozenset: _Writer.put_frozenset,
        bytes: _Writer.put_bytes,
        np.ndarray: _Writer.put_array,
        random.Random: _Writer.put_random,
        np.random.RandomState: _Writer.put_state,
        MethodType: _Writer.put_method,
        BuiltinMethodType: _Writer.put_method,
        MethodDescriptorType: _Writer.put_slot,
    }
)


def _sorted(items: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(items, key=lambda item: (type(item).__name__, item))
    except TypeError:
        return sorted(items, key=repr)


def dumps(model: Any) -> bytes:
    """Return a River model as bytes; the same state gives the same bytes, in any process, restored before or not.

    Raises
    ------
    ModelError
        Something in the model cannot be written, such as a local function, or it is nested too deeply.

    Examples
    --------
    >>> dumps({"b": {"x", "y"}}) == dumps({"b": {"y", "x"}})
    True
    """
    file = io.BytesIO(b"\0\0\0\0")
    file.seek(4)
    writer = _Writer(file)
    try:
        writer.dump(model)
    except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"the model cannot be written to a snapshot ({error}); leave out the part that is named."
        ) from error
    except RecursionError:
        raise ModelError(
            "the model is nested too deeply for a snapshot; limit its depth (max_depth, max_size)."
        ) from None
    file.getbuffer()[:4] = form.LENGTH.pack(file.tell() - 4)
    if not writer.buffers:
        return file.getvalue()
    return b"".join(
        [file.getvalue(), *(part for data in writer.buffers for part in (form.LENGTH.pack(len(data)), data))]
    )
