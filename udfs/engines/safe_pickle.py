"""River models from bytes, audited before anything is built.

Reading a plain pickle runs whatever it names. Here it goes three steps:

1. the opcodes: only those our own writer uses, each complete, nothing left over;
2. a dry run in which every name stands for a dummy: all foreign names are found at once, and a call of anything but
   the few containers, or a state for anything but a plain instance, is an error;
3. only then the same bytes with the real classes.

What is built costs at least its own size in bytes: no list of ours, no buffer and no dictionary is copied twice.
"""

from __future__ import annotations

import io
import pickle
import random
import re
from collections.abc import Callable
from operator import index as as_index
from sys import intern
from typing import Any

import numpy as np
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines import pickle_form as form
from thalweg.udfs.engines.pickle_names import Dummy, bound, dummy, real
from thalweg.udfs.engines.pickle_writer import dumps
from thalweg.udfs.engines.river_order import InOrder

__all__ = ["MAX_BYTES", "dumps", "loads"]

MAX_BYTES = 256 * 2**20
"""Largest blob that is read, bytes."""

_DRAWS = frozenset({"gauss", "random", "uniform", "normalvariate", "expovariate", "randint"})
_MAX_NESTED = 100  # tuples in tuples; Python hashes them by recursion in C, without a limit of its own

# Counted arguments are spelt out per length, because a regular expression cannot count by a byte it has read.
_COUNTED = b"|".join(b"%b(?s:.{%d})" % (re.escape(bytes([n])), n) for n in range(256))
_OPCODES = re.compile(
    rb"\x8c(?:" + _COUNTED + rb")\x94?Q?(?!\x94)"  # a short text, most often an attribute's name
    rb"|[()\]}aesuNRb\x81\x88\x89\x93\x94]+"  # containers, constants, NEWOBJ, REDUCE, BUILD, STACK_GLOBAL, MEMOIZE
    rb"|[Kh](?s:.)|[G\x95](?s:.{8})"
    rb"|Q(?!\x94)"  # a value written by us; never kept in the memo, so that nesting costs bytes
    rb"|M(?s:..)|[Jj](?s:.{4})|\x8a(?:" + _COUNTED + rb")"
)


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: list[bytes], find: Callable[[str, str], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._buffers: list[bytes | None] = list(buffers)
        self._depths: dict[int, int] = {}
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
        pid.clear()  # our writer makes a list for each value; one that comes again would be copied again for two bytes
        if tag == form.TUPLE:
            return self._tuple(rest)
        return _READERS[tag](self, *rest)

    def _tuple(self, items: list[Any]) -> tuple[Any, ...]:
        made, depth = tuple(items), 1
        for item in items:
            if type(item) is tuple:
                depth = max(depth, self._depths.get(id(item), 0) + 1)
        if depth > _MAX_NESTED:
            raise SnapshotError("it is nested too deeply.")
        self._depths[id(made)] = depth
        return made

    def _at(self, number: int) -> bytes:
        found = self._buffers[_natural(number)]
        if found is None:
            raise SnapshotError("a buffer in it is used twice.")
        self._buffers[number] = None
        return found

    def _keep(self, number: int, obj: Any) -> Any:
        self._shared[_natural(number)] = obj
        return obj

    def get_set(self, number: int, *items: Any) -> Any:
        known = self._shared.get(_natural(number))
        return known if isinstance(known, set) else self._keep(number, set(items))

    def get_ordered(self, number: int, *items: Any) -> Any:
        known = self._shared.get(_natural(number))
        return known if isinstance(known, InOrder) else self._keep(number, InOrder(items))

    def get_frozenset(self, *items: Any) -> Any:
        return frozenset(items)

    def get_bytes(self, at: int) -> Any:
        return self._at(at)

    def get_text(self, at: int) -> Any:
        return self._at(at).decode("utf-8", "surrogatepass")

    def get_array(self, number: int, *parts: Any) -> Any:
        if not parts:
            return self._shared[number]
        if parts[0] == "|O":
            _, items, *sizes = parts
            made = np.empty(len(items), dtype=object)
            made[:] = items
            items.clear()
            return self._keep(number, made.reshape([_natural(size) for size in sizes]))
        code, order, at, *shape = parts
        flat = np.frombuffer(self._at(at), dtype=_dtype(code))
        if order not in ("C", "F"):
            raise SnapshotError("an array in it has no known order.")
        return self._keep(number, flat.reshape([_natural(size) for size in shape], order=order).copy(order))

    def get_scalar(self, code: str, data: bytes) -> Any:
        return np.frombuffer(data, dtype=_dtype(code), count=1)[0]

    def get_random(self, number: int, *parts: Any) -> Any:
        if not parts:
            return self._shared[number]
        at, gauss = parts
        made = random.Random()  # noqa: S311  a model's dice, not a secret
        made.setstate((3, form.WORDS.unpack(self._at(at)), None if gauss is None else float(gauss)))
        return self._keep(number, made)

    def get_state(self, number: int, *parts: Any) -> Any:
        if not parts:
            return self._shared[number]
        at, position, has_gauss, gauss = parts
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
    form.SET: _Reader.get_set,
    form.ORDERED: _Reader.get_ordered,
    form.FROZENSET: _Reader.get_frozenset,
    form.BYTES: _Reader.get_bytes,
    form.TEXT: _Reader.get_text,
    form.ARRAY: _Reader.get_array,
    form.SCALAR: _Reader.get_scalar,
    form.RANDOM: _Reader.get_random,
    form.STATE: _Reader.get_state,
    form.DTYPE: _Reader.get_dtype,
    form.METHOD: _Reader.get_method,
}


def _natural(number: Any) -> int:
    if (found := as_index(number)) < 0:
        raise SnapshotError("a number in it is negative that cannot be.")
    return found


def _dtype(code: Any) -> np.dtype[Any]:
    if type(code) is not str or not form.DTYPES.match(code):
        raise SnapshotError(f"an array in it is of a type, {code!r}, that no model needs.")
    return np.dtype(code)


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
        end = at + 4 + int(form.LENGTH.unpack_from(blob, at)[0])
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
