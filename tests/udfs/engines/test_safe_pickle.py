"""Snapshots of River models: exact, the same bytes for the same state, and safe to read whoever wrote them."""

from __future__ import annotations

import builtins
import collections
import copyreg
import datetime
import functools
import io
import operator
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import compose, datasets, forest, linear_model, naive_bayes, optim, preprocessing, stats, tree, utils
from thalweg.connector.errors import ModelError, SnapshotError
from thalweg.udfs.engines.river_order import InOrder
from thalweg.udfs.engines.safe_pickle import dumps, loads

_ran: list[Any] = []


def ran(*args: Any) -> None:
    _ran.append(args)


class Calls:
    """Calls a function when it is unpickled by a reader that runs what it names."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.reduced

    def __call__(self) -> None:
        """Never called here: pickle wants what it names to look callable."""


def wrapped(data: bytes, *buffers: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (data, *buffers))


def op(text: str) -> bytes:
    """A short text, as the writer puts it: by value, then a persistent id."""
    return b"\x8c" + bytes([len(text)]) + text.encode() + b"Q"


def named(module: str, name: str) -> bytes:
    return op(module) + op(name) + b"\x93"


def learned() -> Any:
    dice = random.Random(5)
    model = (
        (compose.SelectType(float) | preprocessing.StandardScaler())
        + (compose.SelectType(str) | preprocessing.OneHotEncoder(drop_zeros=True))
    ) | forest.ARFClassifier(n_models=2, grace_period=5, seed=1)
    for _ in range(60):
        x = {"a": dice.random(), "b": dice.gauss(0, 1), "city": dice.choice(["ulm", "bonn"])}
        model.learn_one(x, x["a"] > 0.5)
    return model


MODEL = learned()
BLOB = dumps(MODEL)


def test_a_model_survives_and_its_bytes_are_stable() -> None:
    again = loads(BLOB)
    assert dumps(again) == BLOB == dumps(loads(dumps(again)))
    for a in (0.1, 0.4, 0.9):
        x = {"a": a, "b": 0.0, "city": "ulm"}
        assert again.predict_proba_one(x) == MODEL.predict_proba_one(x)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
    | st.builds(np.float64, st.floats(allow_nan=False))
    | st.builds(lambda xs: tuple(xs), st.lists(st.integers(), max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4).map(collections.OrderedDict)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.sets(st.text(max_size=5), max_size=5)
        | st.frozensets(st.integers(), max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(plain)
def test_any_plain_value_comes_back(value: Any) -> None:
    blob = dumps(value)
    found = loads(blob)
    assert found == value
    assert type(found) is type(value)
    assert dumps(found) == blob


def test_what_models_are_made_of_comes_back() -> None:
    dice, state = random.Random(3), np.random.RandomState(4)
    dice.gauss(0, 1)
    state.normal()
    shared = [1]
    value = {
        "dice": dice,
        "again": dice,
        "state": state,
        "array": np.arange(6.0).reshape(2, 3),
        "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "texts": np.array(["a", "bc"]),
        "things": np.array([1, "a", None], dtype=object),
        "empty": np.zeros((0, 3)),
        "counts": collections.Counter("abca"),
        "table": collections.defaultdict(functools.partial(collections.defaultdict, float), {"a": {"b": 1.0}}),
        "window": collections.deque([1, 2], maxlen=2),
        "long": "x" * 5000,
        "key": operator.itemgetter("a"),
        "shared": [shared, shared],
        "method": dice.gauss,
    }  # fmt: skip
    found = loads(dumps(value))
    assert found["dice"] is found["again"] is found["method"].__self__
    assert found["dice"].random() == dice.random()
    assert found["dice"].gauss(0, 1) == dice.gauss(0, 1)
    assert found["state"].normal() == state.normal()
    for name in ("array", "turned", "texts", "things", "empty"):
        assert np.array_equal(found[name], value[name])
        assert (found[name].dtype, found[name].flags.f_contiguous) == (
            value[name].dtype,
            value[name].flags.f_contiguous,
        )
    assert found["counts"] == value["counts"]
    assert found["table"]["z"]["z"] == 0.0
    assert found["window"].maxlen == 2
    assert found["shared"][0] is found["shared"][1]
    assert found["key"]({"a": 5}) == 5


def test_what_cannot_be_kept_is_said() -> None:
    for value in (lambda: 1, {1: sys}, np.zeros(2, dtype="M8[s]"), (at for at in "a")):
        with pytest.raises(ModelError):
            dumps(value)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ModelError, match="nested too deeply"):
        dumps(deep)


HOSTILE: list[tuple[str, Any]] = [
    ("os.system", Calls(os.system, "true")),
    ("subprocess", Calls(subprocess.call, ["true"])),
    ("eval", Calls(builtins.eval, "1")),
    ("exec", Calls(builtins.exec, "1")),
    ("getattr", Calls(getattr, Calls(__import__, "os"), "system")),
    ("getattr chain", Calls(Calls(getattr, stats.Mean(), "update"), 1)),
    ("nested", [stats.Mean(), {"a": (Calls(ran, 1),)}]),
    ("import", Calls(__import__, "antigravity")),
    ("open", Calls(open, "/dev/null")),
    ("bytearray", Calls(bytearray, 10**9)),
    ("range list", Calls(list, range(10))),
    ("a builtin that is called", Calls(float, "1")),
    ("a class that is called", Calls(linear_model.LinearRegression)),
    ("a partial that is called", Calls(functools.partial(ran, 1))),
    ("a partial of a stranger", functools.partial(ran, 1)),
    ("a date", datetime.date(2020, 1, 1)),
    ("methodcaller", operator.methodcaller("system", "true")),
    ("attrgetter", operator.attrgetter("os.system")),
    ("reconstructor", Calls(copyreg._reconstructor, stats.Mean, object, None)),
    ("dataset", datasets.Phishing()),
]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(("what", "value"), HOSTILE, ids=[what for what, _ in HOSTILE])
def test_hostile_pickles_are_refused(what: str, value: Any, protocol: int) -> None:
    _ran.clear()
    for data in (pickle.dumps(value, protocol), pickle.dumps([1, value], protocol)):
        for blob in (wrapped(data), data):
            with pytest.raises(SnapshotError):
                loads(blob)
    assert not _ran


@pytest.mark.parametrize(("what", "value"), HOSTILE, ids=[what for what, _ in HOSTILE])
def test_hostile_objects_in_our_own_form_are_refused(what: str, value: Any) -> None:
    """The same, written by our own writer, so that only the audit of names and calls stands in the way."""
    try:
        blob = dumps([stats.Mean(), value])
    except ModelError:
        return
    _ran.clear()
    with pytest.raises(SnapshotError):
        loads(blob)
    assert not _ran


def test_every_foreign_name_is_listed_before_anything_is_built() -> None:
    blob = dumps([Calls(ran, 1), stats.Mean(), datetime.date(2020, 1, 1), Calls(subprocess.call, "x")])
    with pytest.raises(SnapshotError) as caught:
        loads(blob)
    for name in (f"{__name__}.ran", "subprocess.call", "datetime.date"):
        assert name in str(caught.value)
    assert "river" not in str(caught.value)


def text_only(*ops: bytes) -> bytes:
    return wrapped(b"\x80\x05" + b"".join(ops) + b".")


MEAN = named("river.stats.mean", "Mean")
PIPELINE = named("river.compose.pipeline", "Pipeline")
DEQUE = named("collections", "deque")
OPS: list[tuple[str, bytes]] = [
    ("os.system", named("posix", "system") + b"](K\x00" + op("true") + b"eQR"),
    ("eval", named("builtins", "eval") + b"](K\x00" + op("1") + b"eQR"),
    ("getattr", named("builtins", "getattr") + b"](K\x00" + MEAN + op("update") + b"eQR"),
    ("importlib", named("importlib", "import_module") + b"](K\x00" + op("os") + b"eQR"),
    ("global by line", b"cos\nsystem\n"),
    ("instance", b"(S'true'\nios\nsystem\n"),
    ("object", b"(cos\nsystem\no"),
    ("extension 1", b"\x82\x01"),
    ("extension 2", b"\x83\x01\x00"),
    ("extension 4", b"\x84\x01\x00\x00\x00"),
    ("newobj with keywords", b"\x92"),
    ("unicode by line", b"Vx\n"),
    ("long text", b"X\x04\x00\x00\x00abcd"),
    ("huge text", b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),
    ("huge long", b"\x8b\xff\xff\xff\x7f"),
    ("huge memo", b"Nr\xff\xff\xff\x7f"),
    ("memo by line", b"Np999999999\n"),
    ("frozen set by opcode", b"(\x91"),
    ("out-of-band buffer", b"\x97"),
    ("persistent id by line", b"Pos.system\n"),
    ("a stop too early", b"N.N"),
    ("an empty stack", b"a"),
    ("a text cut short", b"\x8c\x09abc"),
    ("a memo that is not there", b"h\x07"),
    ("a foreign tag", b"]K\x63aQ"),
    ("a tag without its parts", b"]K\x05aQ"),
    ("an array of a foreign type", b"](K\x05K\x00" + op("|V8") + op("C") + b"K\x00K\x01eQ"),
    ("an array without its buffer", b"](K\x05K\x00" + op("<f8") + op("C") + b"K\x00K\x01eQ"),
    ("a negative buffer", b"](K\x05K\x00" + op("<f8") + op("C") + b"J\xff\xff\xff\xffK\x01eQ"),
    ("a generator without words", b"](K\x07K\x00K\x00NeQ"),
    ("a method of a text", b"](K\x0a" + op("abc") + op("format") + b"eQ"),
    ("a method of a class", b"](K\x0a" + MEAN + op("mro") + b"eQ"),
    ("a method of Python's own", b"](K\x0a" + MEAN + b")\x81" + op("__reduce__") + b"eQ"),
    ("a private module", named("river._river", "system")),
    ("a nested name", named("river.stats.mean", "Mean.__init__")),
    ("a module in a module", named("river.base.base", "inspect")),
    ("a function of River", named("river.utils.math", "softmax")),
    ("a test of River", named("river.test_estimators", "iter_estimators")),
    ("a state with a name of Python's own", MEAN + b")\x81}" + op("__class__") + b"Nsb"),
    ("a state in slots of Python's own", PIPELINE + b")\x81](K\x00N}" + op("__dict__") + b"NseQb"),
    ("a state for a function", named("copy", "deepcopy") + b"}b"),
    ("a state for a container", DEQUE + b")R}b"),
    ("a call of a value", named("builtins", "list") + b")R"),
    ("a call of a function", named("copy", "deepcopy") + b"]K\x00a]K\x00aQR"),
    ("an attribute of a class", MEAN + b"}" + op("update") + b"Nsb"),
    ("a deque filled by a call", DEQUE + b"](K\x00](K\x01K\x02eeQR"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "ops"), OPS, ids=[what for what, _ in OPS])
def test_opcodes_that_our_writer_never_writes_are_refused(what: str, ops: bytes) -> None:
    with pytest.raises(SnapshotError):
        loads(text_only(ops))
    with pytest.raises(SnapshotError):
        loads(text_only(b"](K\x01", ops, b"e"))


MANY = 50_000
ARRAY = op("|u1") + op("C") + b"K\x00J\x00\x00\x10\x00eQ"  # the first buffer, one megabyte
NUMBERED = b"".join(b"J" + at.to_bytes(4, "little") + b"K\x01" for at in range(MANY))
BOMBS: list[tuple[str, bytes, tuple[bytes, ...]]] = [
    # A list of 50,000, handed 50,000 times to what copies it: 2.5 billion items for a few hundred kilobytes.
    ("tuples", b"]\x94(K\x00" + b"N" * MANY + b"e](" + b"h\x00Q" * MANY + b"e", ()),
    ("sets", b"]\x94(K\x02" + b"K\x01" * MANY + b"e](" + b"h\x00Q" * MANY + b"e", ()),
    (
        "counters",
        named("collections", "Counter") + b"\x94}\x94(" + NUMBERED + b"u](" + b"h\x00](K\x00h\x01eQR" * MANY + b"e",
        (),
    ),
    (
        "things",
        b"]\x94(" + b"N" * MANY + b"e]("
        + b"".join(b"](K\x05M" + at.to_bytes(2, "little") + op("|O") + b"h\x00M\x50\xc3eQ" for at in range(MANY))
        + b"e",
        (),
    ),
    (
        "arrays",
        b"](" + b"".join(b"](K\x05M" + at.to_bytes(2, "little") + ARRAY for at in range(20_000)) + b"e",
        (bytes(1 << 20),),
    ),
    ("texts", b"](" + b"](K\x04K\x00eQ" * 20_000 + b"e", (b"a" * (1 << 20),)),
    # Python hashes a tuple in a tuple by recursion in C, without a limit.
    ("tuples in tuples", b"}" + b"](K\x00" * 300_000 + b"N" + b"eQ" * 300_000 + b"Ns", ()),
]  # fmt: skip


def test_a_small_blob_cannot_claim_much_memory() -> None:
    """In a process of its own, with a bound on memory: each must be refused, not killed."""
    program = """
import resource, sys
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.safe_pickle import loads

resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
for line in sys.stdin:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        loads(bytes.fromhex(line))
    except SnapshotError as error:
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, error, flush=True)
    else:
        print("read", flush=True)
"""
    lines = "".join(wrapped(b"\x80\x05" + ops + b".", *buffers).hex() + "\n" for _, ops, buffers in BOMBS)
    ran = subprocess.run([sys.executable, "-c", program], input=lines, capture_output=True, text=True, check=False)
    said = ran.stdout.splitlines()
    assert ran.returncode == 0, (BOMBS[len(said)][0], ran.stderr[-500:])
    for (what, _, _), line in zip(BOMBS, said, strict=True):
        grown, _, reason = line.partition(" ")
        assert grown.isdigit(), (what, line)
        assert "MemoryError" not in reason, what
        assert int(grown) < 150, (what, line)  # megabytes


def test_a_name_that_is_allowed_builds_nothing_by_itself() -> None:
    kinds = (
        linear_model.LinearRegression,
        naive_bayes.GaussianNB,
        tree.HoeffdingTreeClassifier,
        optim.SGD,
        utils.Rolling,
    )
    for kind in kinds:
        assert loads(text_only(named(kind.__module__, kind.__name__))) is kind


def test_cut_short_anywhere_is_refused() -> None:
    ends = {*range(0, 200), *range(0, len(BLOB), 97), len(BLOB) - 1}
    for end in ends:
        with pytest.raises(SnapshotError):
            loads(BLOB[:end])
    with pytest.raises(SnapshotError):
        loads(BLOB + b"\0")


def harmless(change: Callable[[], Any]) -> None:
    try:
        change()
    except SnapshotError:
        return
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}")


SMALL = dumps(preprocessing.StandardScaler() | linear_model.LogisticRegression())


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_flipped_bits_are_refused_or_harmless(data: Any) -> None:
    blob = data.draw(st.sampled_from([BLOB, SMALL]))
    at = data.draw(st.integers(0, len(blob) - 1))
    bit = data.draw(st.integers(0, 7))
    harmless(lambda: loads(blob[:at] + bytes([blob[at] ^ (1 << bit)]) + blob[at + 1 :]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(SMALL)), st.integers(0, 60))
def test_spliced_bytes_are_refused_or_harmless(junk: bytes, at: int, cut: int) -> None:
    harmless(lambda: loads(SMALL[:at] + junk + SMALL[at + cut :]))
    harmless(lambda: loads(wrapped(b"\x80\x05" + junk + b".")))
    harmless(lambda: loads(junk))


PIECES = [
    op("a"),
    op("collections"),
    op("deque"),
    DEQUE,
    MEAN,
    named("copy", "deepcopy"),
    named("functools", "partial"),
]
PIECES += [bytes([code]) for code in b"()]}aesuNRbQ0\x81\x93\x94"] + [b"K\x00", b"K\x01", b"K\x0a", b"h\x00", b"h\x01"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_program_of_our_opcodes_is_refused_or_harmless(ops: list[bytes]) -> None:
    harmless(lambda: loads(text_only(*ops)))


def test_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.udfs.engines.safe_pickle.MAX_BYTES", 100)
    with pytest.raises(SnapshotError, match="the limit is 100"):
        loads(BLOB)


def test_nothing_of_the_writer_is_plain_pickle() -> None:
    file = io.BytesIO(BLOB[4:])
    with pytest.raises(pickle.UnpicklingError, match="persistent"):
        pickle.Unpickler(file).load()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=12))
def test_rivers_sets_keep_the_order_of_their_items(names: list[str]) -> None:
    found = loads(dumps({"one": (kept := InOrder(names)), "two": kept}))
    assert list(found["one"]) == list(kept) == list(dict.fromkeys(names))
    assert found["one"] is found["two"]
    assert dumps(found) == dumps({"one": kept, "two": kept})
