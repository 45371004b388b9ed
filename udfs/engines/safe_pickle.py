"""River models as bytes: deterministic out, audited in.

Plain pickle is neither. Its bytes depend on which equal strings happen to be one object and on the order of sets, which
differs from process to process; and reading them runs whatever they name. Here the pickler writes every string, tuple,
set, array and random generator by value, and the reader goes three steps before it builds anything:

1. the opcodes: only those our own writer uses, each complete, nothing left over;
2. a dry run in which every name stands for a dummy: all foreign names are found at once, and a call of anything but
   the few containers, or a state for anything but a plain instance, is an error;
3. only then the same bytes with the real classes.

Layout: length of the pickle (4 bytes, big-endian), the pickle, then buffers, each with its length before it.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import random
import re
import struct
from collections.abc import Callable
from operator import index as as_index
from sys import intern
from types import BuiltinMethodType, MethodDescriptorType, MethodType
from typing import Any, ClassVar

import numpy as np
from river.proba import Gaussian
from thalweg.connector.errors import ModelError, SnapshotError
from thalweg.udfs.engines.pickle_names import Dummy, bound, dummy, real

__all__ = ["MAX_BYTES", "dumps", "loads"]

MAX_BYTES = 256 * 2**20
"""Largest blob that is read, bytes."""

_TUPLE, _SET, _FROZENSET, _BYTES, _TEXT, _ARRAY, _SCALAR, _RANDOM, _STATE, _DTYPE, _METHOD = range(11)
_SHORT = 64  # characters; in UTF-8 no text below it is longer than _INLINE
_INLINE = 255  # longer than this, a text or bytes would need an opcode whose length the audit cannot check in one pass
_LENGTH = struct.Struct(">I")
_WORDS = struct.Struct("<625I")
_DTYPES = re.compile(r"[<>|](?:b1|[iu][1248]|f[248]|[SU]\d{1,6})\Z")
_DRAWS = frozenset({"gauss", "random", "uniform", "normalvariate", "expovariate", "randint"})

# Counted arguments are spelt out per length, because a regular expression cannot count by a byte it has read.
_COUNTED = b"|".join(b"%b(?s:.{%d})" % (re.escape(bytes([n])), n) for n in range(256))
_OPCODES = re.compile(
    rb"\x8c(?:" + _COUNTED + rb")\x94?Q?(?!\x94)"  # a short text, most often an attribute's name
    rb"|[()\]}aesuNRb\x81\x88\x89\x93\x94]+"  # containers, constants, NEWOBJ, REDUCE, BUILD, STACK_GLOBAL, MEMOIZE
    rb"|[Kh](?s:.)|[G\x95](?s:.{8})"
    rb"|Q(?!\x94)"  # a value written by us; never kept in the memo, so that nesting costs bytes
    rb"|M(?s:..)|[Jj](?s:.{4})|\x8a(?:" + _COUNTED + rb")"
)


_IDLE = random.Random(0)  # noqa: S311


def _reduce_gaussian(obj: Gaussian) -> tuple[Any, ...]:
    # Trees and naive Bayes hold thousands of these and never draw from them. Each has a generator of 2.5 kB, seeded by
    # the machine's entropy when no seed was given: two thirds of a tree's bytes, and never twice the same.
    state = obj.__dict__ if obj.seed is not None else {**obj.__dict__, "_rng": _IDLE}
    return copyreg.__newobj__, (Gaussian,), state  # type: ignore[attr-defined]


class _Writer(pickle.Pickler):
    dispatch_table: ClassVar[Any] = {**copyreg.dispatch_table, Gaussian: _reduce_gaussian}

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
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
        return [_TEXT, self._buffer(data)] if len(data) > _INLINE else intern(obj)

    def _buffer(self, data: bytes) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1

    def _once(self, obj: Any) -> tuple[int, bool]:
        """Return the number of a shared object, and whether it is new."""
        number = len(self._shared)
        found = self._shared.setdefault(id(obj), (obj, number))[1]
        return found, found == number

    def put_tuple(self, obj: tuple[Any, ...]) -> Any:
        return [_TUPLE, *obj] if obj else None

    def put_set(self, obj: set[Any]) -> list[Any]:
        number, new = self._once(obj)
        return [_SET, number, *_sorted(obj)] if new else [_SET, number]

    def put_frozenset(self, obj: frozenset[Any]) -> list[Any]:
        return [_FROZENSET, *_sorted(obj)]

    def put_bytes(self, obj: bytes) -> list[Any]:
        return [_BYTES, self._buffer(obj)]

    def put_array(self, obj: np.ndarray[Any, Any]) -> list[Any]:
        number, new = self._once(obj)
        if not new:
            return [_ARRAY, number]
        if obj.dtype.hasobject and obj.dtype.str == "|O":
            return self.put_object_array(obj, number)
        if not _DTYPES.match(obj.dtype.str):
            raise ModelError(f"an array of type {obj.dtype} inside the model cannot be written to a snapshot.")
        order = "F" if obj.flags.f_contiguous and not obj.flags.c_contiguous else "C"
        data = self._buffer(obj.tobytes(order))  # type: ignore[arg-type]
        return [_ARRAY, number, obj.dtype.str, order, data, *obj.shape]

    def put_random(self, obj: random.Random) -> list[Any]:
        number, new = self._once(obj)
        if not new:
            return [_RANDOM, number]
        _, words, gauss = obj.getstate()
        return [_RANDOM, number, self._buffer(_WORDS.pack(*words)), gauss]

    def put_state(self, obj: np.random.RandomState) -> list[Any]:
        number, new = self._once(obj)
        if not new:
            return [_STATE, number]
        _, words, position, has_gauss, gauss = obj.get_state()
        return [
            _STATE,
            number,
            self._buffer(words.astype("<u4").tobytes()),
            int(position),
            int(has_gauss),
            float(gauss),
        ]

    def put_object_array(self, obj: np.ndarray[Any, Any], number: int) -> list[Any]:
        return [_ARRAY, number, "|O", obj.ravel().tolist(), *obj.shape]

    def put_scalar(self, obj: np.generic) -> list[Any]:
        return [_SCALAR, obj.dtype.str, obj.tobytes()]

    def put_dtype(self, obj: np.dtype[Any]) -> list[Any]:
        return [_DTYPE, obj.str]

    def put_method(self, obj: Any) -> list[Any]:
        return [_METHOD, obj.__self__, obj.__name__]

    def put_slot(self, obj: Any) -> list[Any]:
        return [_METHOD, obj.__objclass__, obj.__name__]


class _Writers(dict[type, "Callable[[_Writer, Any], Any] | None"]):
    def __missing__(self, kind: type) -> Callable[[_Writer, Any], Any] | None:
        wide = {np.generic: _Writer.put_scalar, np.dtype: _Writer.put_dtype}
        self[kind] = found = next((write for base, write in wide.items() if issubclass(kind, base)), None)
        return found


_WRITERS = _Writers(
    {
        str: _Writer.put_text,
        tuple: _Writer.put_tuple,
        set: _Writer.put_set,
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


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: list[bytes], find: Callable[[str, str], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._buffers = buffers
        self._shared: dict[int, Any] = {}
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        return self._find(module, name)

    def persistent_load(self, pid: Any) -> Any:
        if type(pid) is str:
            return intern(pid)
        if type(pid) is not list or not pid or type(pid[0]) is not int:
            raise SnapshotError("a value in it has no known form.")
        tag, rest = pid[0], pid[1:]
        if tag == _TUPLE:
            return tuple(rest)
        return _READERS[tag](self, *rest)

    def _at(self, number: int) -> bytes:
        return self._buffers[_natural(number)]

    def _keep(self, number: int, obj: Any) -> Any:
        self._shared[_natural(number)] = obj
        return obj

    def get_set(self, number: int, *items: Any) -> Any:
        known = self._shared.get(_natural(number))
        return known if isinstance(known, set) else self._keep(number, set(items))

    def get_frozenset(self, *items: Any) -> Any:
        return frozenset(items)

    def get_bytes(self, at: int) -> Any:
        return self._at(at)

    def get_text(self, at: int) -> Any:
        return self._at(at).decode("utf-8", "surrogatepass")

    def get_array(self, number: int, *form: Any) -> Any:
        if not form:
            return self._shared[number]
        if form[0] == "|O":
            _, items, *sizes = form
            made = np.empty(len(items), dtype=object)
            made[:] = items
            return self._keep(number, made.reshape([_natural(size) for size in sizes]))
        code, order, at, *shape = form
        flat = np.frombuffer(self._at(at), dtype=_dtype(code))
        if order not in ("C", "F"):
            raise SnapshotError("an array in it has no known order.")
        return self._keep(number, flat.reshape([_natural(size) for size in shape], order=order).copy(order))

    def get_scalar(self, code: str, data: bytes) -> Any:
        return np.frombuffer(data, dtype=_dtype(code), count=1)[0]

    def get_random(self, number: int, *form: Any) -> Any:
        if not form:
            return self._shared[number]
        at, gauss = form
        made = random.Random()  # noqa: S311  a model's dice, not a secret
        made.setstate((3, _WORDS.unpack(self._at(at)), None if gauss is None else float(gauss)))
        return self._keep(number, made)

    def get_state(self, number: int, *form: Any) -> Any:
        if not form:
            return self._shared[number]
        at, position, has_gauss, gauss = form
        words = np.frombuffer(self._at(at), dtype="<u4")
        if words.shape != (624,) or not 0 <= _natural(position) <= 624:
            raise SnapshotError("a random generator in it is damaged.")
        made = np.random.RandomState(0)
        made.set_state(("MT19937", words, position, _natural(has_gauss) & 1, float(gauss)))
        return self._keep(number, made)

    def get_dtype(self, code: str) -> Any:
        return _dtype(code)

    def get_method(self, owner: Any, name: str) -> Any:
        if type(name) is not str or (type(owner) is random.Random and name not in _DRAWS):
            raise SnapshotError(f"it binds a method, {name!r}, that no model needs.")
        return bound(owner, name)


_READERS: dict[int, Callable[..., Any]] = {
    _SET: _Reader.get_set,
    _FROZENSET: _Reader.get_frozenset,
    _BYTES: _Reader.get_bytes,
    _TEXT: _Reader.get_text,
    _ARRAY: _Reader.get_array,
    _SCALAR: _Reader.get_scalar,
    _RANDOM: _Reader.get_random,
    _STATE: _Reader.get_state,
    _DTYPE: _Reader.get_dtype,
    _METHOD: _Reader.get_method,
}


def _natural(number: Any) -> int:
    if (found := as_index(number)) < 0:
        raise SnapshotError("a number in it is negative that cannot be.")
    return found


def _dtype(code: Any) -> np.dtype[Any]:
    if type(code) is not str or not _DTYPES.match(code):
        raise SnapshotError(f"an array in it is of a type, {code!r}, that no model needs.")
    return np.dtype(code)


def dumps(model: Any) -> bytes:
    """Return a River model as bytes; the same state gives the same bytes, in any process, restored before or not.

    Raises
    ------
    ModelError
        Something in the model cannot be written, such as a local function, or it is nested too deeply.

    Examples
    --------
    >>> dumps({"b": {"x", "y"}}) == dumps(loads(dumps({"b": {"y", "x"}})))
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
    file.getbuffer()[:4] = _LENGTH.pack(file.tell() - 4)
    if not writer.buffers:
        return file.getvalue()
    return b"".join([file.getvalue(), *(part for data in writer.buffers for part in (_LENGTH.pack(len(data)), data))])


def loads(blob: bytes) -> Any:
    """Return the model that ``dumps`` wrote.

    Raises
    ------
    SnapshotError
        Damaged, truncated, too large or hostile; every foreign name is listed; nothing has been built or run.

    Examples
    --------
    >>> import pickle
    >>> evil = pickle.dumps(print, 5)
    >>> loads(len(evil).to_bytes(4, "big") + evil)
    Traceback (most recent call last):
    ...
    thalweg.connector.errors.SnapshotError: the snapshot names what no model needs: builtins.print.
    """
    data, buffers = _split(blob)
    # PROTO 5 first, STOP last, and what is between must vanish when every complete opcode is taken out.
    if data[:2] != b"\x80\x05" or data[-1:] != b"." or _OPCODES.sub(b"", data[2:-1]):
        raise SnapshotError("the snapshot is damaged: it is not what a model's dump writes.")
    foreign: set[str] = set()

    def pretend(module: str, name: str) -> Any:
        found = dummy(module, name)
        if found is Dummy:
            foreign.add(f"{module}.{name}")
        return found

    trouble = _run(data, buffers, pretend)
    if foreign:
        raise SnapshotError(f"the snapshot names what no model needs: {', '.join(sorted(foreign))}.")
    if isinstance(trouble, _Failure):
        raise SnapshotError(f"the snapshot is damaged: {trouble.text}")
    model = _run(data, buffers, real)
    if isinstance(model, _Failure):
        raise SnapshotError(f"the snapshot is damaged: {model.text}")
    return model


def _split(blob: bytes) -> tuple[bytes, list[bytes]]:
    if len(blob) > MAX_BYTES:
        raise SnapshotError(f"the snapshot has {len(blob)} bytes; the limit is {MAX_BYTES}.")
    parts: list[bytes] = []
    at = 0
    while at < len(blob):
        if at + 4 > len(blob):
            raise SnapshotError("the snapshot is damaged: it ends too early.")
        end = at + 4 + int(_LENGTH.unpack_from(blob, at)[0])
        if end > len(blob):
            raise SnapshotError("the snapshot is damaged: it ends too early.")
        parts.append(blob[at + 4 : end])
        at = end
    if not parts:
        raise SnapshotError("the snapshot is empty.")
    return parts[0], parts[1:]


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _run(data: bytes, buffers: list[bytes], find: Callable[[str, str], Any]) -> Any:
    try:
        return _Reader(data, buffers, find).load()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic inside River's Rust part is a BaseException
        return _Failure(f"{type(error).__name__}: {error}"[:300])
