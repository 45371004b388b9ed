"""The targets of the fuzz campaign that restore models, in each engine and with seals that fit what was changed."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from fuzz_base import GOLDEN, Target, use
from thalweg.connector.errors import SnapshotError, ThalwegError, WireError
from thalweg.udfs.engines import build, check_whole, restore
from thalweg.udfs.engines.base import EngineSpec, Field

_NUMBERS = (Field("a", "number"), Field("b", "number"))
_FLAG, _RISK = Field("y", "boolean"), Field("risk", "number")
_ROWS = [{"a": 0.5 * n, "b": float(n % 3), "c": "xyz"[n % 3], "ms": 1000 * n, "src": f"h{n % 3}"} for n in range(12)]

SPECS: dict[str, tuple[EngineSpec, Any]] = {
    "river-linear": (
        EngineSpec(
            "river",
            "classification",
            "preprocessing.StandardScaler() | linear_model.LogisticRegression()",
            _NUMBERS,
            _FLAG,
        ),
        True,
    ),
    "river-onehot": (
        EngineSpec(
            "river",
            "classification",
            "(compose.Select('a') | preprocessing.StandardScaler()) + (compose.Select('c') |"
            " preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression(optim.SGD(0.05))",
            (Field("a", "number"), Field("c", "string")),
            _FLAG,
        ),
        True,
    ),
    "river-tree": (
        EngineSpec(
            "river", "classification", "tree.HoeffdingTreeClassifier(grace_period=5)", _NUMBERS, Field("y", "string")
        ),
        "yes",
    ),
    "river-forest": (
        EngineSpec("river", "classification", "forest.ARFClassifier(n_models=2, seed=1)", _NUMBERS, _FLAG),
        True,
    ),
    "river-bayes": (EngineSpec("river", "classification", "naive_bayes.GaussianNB()", _NUMBERS, _FLAG), True),
    "river-hst": (
        EngineSpec("river", "anomaly", "anomaly.HalfSpaceTrees(n_trees=2, height=3, window_size=5)", _NUMBERS, _RISK),
        None,
    ),
    "midas": (
        EngineSpec(
            "midas", "anomaly", "midas", (Field("src", "string"), Field("c", "string"), Field("ms", "integer")), _RISK,
            (("num-columns", "16"), ("quantile", "0.9"), ("tick", "1 s"), ("variant", "filtering")),
        ),
        None,
    ),
    "metric-anomaly": (
        EngineSpec(
            "metric-anomaly", "anomaly", "metric-anomaly", (Field("a", "number"),), _RISK,
            (("min-training-size", "50"),),
        ),
        None,
    ),
    "neural": (
        EngineSpec(
            "neural", "classification", "mlp(4, embedding(c, 3))", (Field("a", "number"), Field("c", "string")), _FLAG,
            (("batch-size", "3"), ("learning-rate", "0.05")),
        ),
        True,
    ),
    "recommend": (
        EngineSpec(
            "recommend", "next-item", "recommend",
            (Field("src", "string"), Field("c", "string"), Field("ms", "integer")),
            Field("item", "string"),
        ),
        None,
    ),
}  # fmt: skip


def _row(spec: EngineSpec, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name, _ in spec.inputs}


def _dumps(spec: EngineSpec, label: Any) -> list[bytes]:
    engine: Any = build(spec)
    found = [engine.dump()]
    for n in range(60):
        row = _row(spec, _ROWS[n % len(_ROWS)])
        engine.learn(row, (n % 3 == 0 if label is True else label) if label is not None else None)
        if n in (0, 6, 59):
            found.append(engine.dump())
    return found


def _engine(spec: EngineSpec, label: Any, resealed: bool) -> Callable[[bytes], Any]:
    rows = [_row(spec, row) for row in _ROWS[:4]]

    def read(data: bytes) -> Any:
        blob = data
        if resealed:
            blob = data[:1] + struct.pack(">I", zlib.crc32(data[5:])) + data[5:]
        engine = restore(spec, blob)
        check_whole(engine)
        return use(engine, rows, label)

    return read


def _inflated(spec: EngineSpec, label: Any, head: int) -> Callable[[bytes], Any]:
    """Pack what is compressed in a blob again: the data is the blob with its body plain."""
    read = _engine(spec, label, True)
    return lambda data: read(data[:head] + zlib.compress(data[head:], 1))


def _plain(blob: bytes, head: int) -> bytes:
    return blob[:head] + zlib.decompress(blob[head:])


def _onnx_spec(path: str = "") -> EngineSpec:
    return EngineSpec("onnx", "classification", path or "m.onnx", (Field("xs", "vector"),), _FLAG)


def _onnx_restore(data: bytes) -> Any:
    blob = b"\1" + hashlib.sha256(data).digest() + data
    return use(restore(_onnx_spec(), blob), [{"xs": [0.5] * 3}] * 2)


def _onnx_seeds() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    nodes = [helper.make_node("MatMul", ["xs", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    graph = helper.make_graph(
        nodes, "g", [value("xs", TensorProto.FLOAT, ["n", 3])], [value("p", TensorProto.FLOAT, ["n", 2])], [weight]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    golden = sorted((GOLDEN / "neural").glob("*.onnx"), key=lambda path: path.stat().st_size)[:3]
    return [made.SerializeToString(), *(path.read_bytes() for path in golden)]


def _graph(data: bytes) -> Any:
    from thalweg.udfs.engines.onnx_graph import read_graph

    found = read_graph(data)
    return len(found.locations), [len(found.classes((name,))) for name in ("p", "label", "output")]


@cache
def _folder() -> str:
    return tempfile.mkdtemp(prefix="fuzz-")


def _neural_file(data: bytes) -> Any:
    path = Path(_folder()) / f"{hashlib.sha256(data).hexdigest()[:16]}.onnx"  # plans are kept by their specs
    path.write_bytes(data)
    try:
        spec = EngineSpec("neural", "classification", str(path), (Field("xs", "vector"),), _FLAG)
        return use(build(spec), [{"xs": [0.5, 1.0, 2.0]}], True)
    finally:
        path.unlink()


def _portable(data: bytes) -> Any:
    from thalweg.udfs.logic.portable import read_model

    engine = read_model(data).engine
    return use(engine, [{name: 1.0 for name, _ in engine.spec.inputs}], True)


def _portable_seeds() -> list[bytes]:
    from thalweg.udfs.logic.portable import pack_parts

    spec, label = SPECS["river-linear"]
    return [pack_parts(spec.to_json(), blob) for blob in _dumps(spec, label)]


def _pickle(data: bytes) -> Any:
    """Read a River state as the engine does, whatever it is of: the audit comes before anything else."""
    from thalweg.udfs.engines.safe_pickle import dumps, loads

    found = loads(data)
    dumps(found)
    return type(found).__name__


def _pickle_seeds() -> list[bytes]:
    import numpy as np
    from river import forest, linear_model, preprocessing, tree
    from thalweg.udfs.engines.safe_pickle import dumps

    tree_ = tree.HoeffdingTreeClassifier(grace_period=5)
    arf = forest.ARFClassifier(n_models=2, seed=1)
    pipe = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for n in range(60):
        for model in (tree_, arf, pipe):
            model.learn_one({"a": float(n % 7), "b": n * 0.5}, n % 7 > 3)
    plain = {"a": [1, 2.5, "x", b"y", None, True], "s": {1, 2}, "t": (1, (2, (3,))), "n": np.arange(6.0).reshape(2, 3)}
    return [dumps(value) for value in (plain, tree_, arf, pipe)]


def _block(data: bytes) -> Any:
    from thalweg.udfs.logic.packing import pack_columns, unpack_columns

    rows, columns = unpack_columns(data)
    assert all(len(column) == rows for column in columns)
    pack_columns(
        [("string", column) for column in columns if all(isinstance(v, (str, type(None))) for v in column)], rows
    )
    return rows, len(columns)


def _block_seeds() -> list[bytes]:
    from thalweg.udfs.logic.packing import pack_columns

    columns = [
        ("string", ["a", None, "ü"]), ("number", [1.5, None, -0.0]), ("integer", [1, None, 2**40]),
        ("boolean", [True, None, False]), ("vector", [[1.0, 2.0], None, []]),
    ]  # fmt: skip
    return [pack_columns(columns, 3), pack_columns(columns[:2], 3)]


def engine_targets() -> dict[str, Callable[[], Target]]:
    """Return the targets by name, each made when it is asked for."""
    found: dict[str, Callable[[], Target]] = {}
    snapshot = (SnapshotError,)
    for name, (spec, label) in SPECS.items():
        found[f"restore-{name}"] = partial(_engine_target, spec, label, False)
        found[f"resealed-{name}"] = partial(_engine_target, spec, label, True)
    # protocol, checksum and digest are 13 bytes, then the engine's own head
    for name, head in (("midas", 13 + 17), ("metric-anomaly", 13 + 24)):
        found[f"inflated-{name}"] = partial(_inflated_target, *SPECS[name], head)
    return {
        **found,
        "safe-pickle": lambda: Target(_pickle, _pickle_seeds(), refusals=snapshot),
        "portable": lambda: Target(_portable, _portable_seeds(), refusals=snapshot),
        "block": lambda: Target(_block, _block_seeds(), refusals=(WireError,)),
        "onnx-graph": lambda: Target(_graph, _onnx_seeds(), refusals=(ValueError,)),
        "onnx-restore": lambda: Target(_onnx_restore, _onnx_seeds()[:1], refusals=snapshot),
        "neural-file": lambda: Target(_neural_file, _onnx_seeds(), refusals=(ThalwegError,)),
    }


def _engine_target(spec: EngineSpec, label: Any, resealed: bool) -> Target:
    return Target(_engine(spec, label, resealed), _dumps(spec, label), refusals=(SnapshotError,))


def _inflated_target(spec: EngineSpec, label: Any, head: int) -> Target:
    seeds = [_plain(blob, head) for blob in _dumps(spec, label)]
    return Target(_inflated(spec, label, head), seeds, refusals=(SnapshotError,))
