"""ONNX in SQL: ``onnx_score`` against the runtime alone, a function that does nothing, and a call per row.

For each of three models all four ways run in this one process and at the batch size of the profile ``throughput``:
the runtime without Flink, with one thread; a pandas function with the same arguments that returns its first feature,
which is what Flink and Arrow cost; the textbook's function, which calls the runtime for each row; ``onnx_score``.

Rates are of the steady state: the job writes down when the first row of each bundle came out of the function, and the
first third of these marks, with the start of Flink, Python and the just-in-time compilers, does not count. All of that
is done several times in turn. Rates are medians, and ratios medians of the ratios within a turn: a machine that is slow
for a while is slow for all ways.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

MODELS = {"mlp": 3, "trees": 3, "wide50": 50}
"""Features of each model."""
BATCH = 10_000
TURNS = 3
BUNDLE = 100_000
"""Rows that Flink gives to Python before it takes answers; they come out all at once."""
SOURCE = """
CREATE TEMPORARY TABLE {table} (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}',
  'rows-per-second' = '100000000', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{last}')
"""
SINK = """
CREATE TEMPORARY TABLE {table} (n BIGINT, ms BIGINT) WITH ('connector' = 'filesystem', 'format' = 'csv',
  'path' = '{folder}')
"""
# The condition reads the score, so that the planner cannot test it before the function is called.
QUERY = """
INSERT INTO {sink} SELECT n, 1000 * UNIX_TIMESTAMP(CAST(t AS STRING)) + EXTRACT(MILLISECOND FROM t) FROM (
  SELECT n, CURRENT_ROW_TIMESTAMP() AS t FROM (SELECT n, {function}('{path}', {columns}) AS score FROM {source})
  WHERE MOD(n + CASE WHEN score > 1E300 THEN 1 ELSE 0 END, {every}) = 0)
"""
_RAW_S = 1.0


class Turn(NamedTuple):
    """Events per second of the four ways, measured one after the other."""

    ours: float
    row_udf: float
    noop_udf: float
    raw_runtime: float


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return events per second and the ratios; ``rows`` is for the models of 3 features, the wide one takes half."""
    whole = max(rows or 3_000_000, 12 * BUNDLE)
    turns: dict[str, list[Turn]] = {name: [] for name in MODELS}
    with tempfile.TemporaryDirectory(prefix="thalweg-bench-") as folder:
        for name in MODELS:
            Path(folder, f"{name}.onnx").write_bytes(make_model(name))
        bench = _Bench(Path(folder))
        bench.rate("mlp", "onnx_score", 20 * BATCH, BATCH)  # a JVM that has just started is slower than it will be
        for number in range(TURNS):
            for name, width in MODELS.items():
                turns[name].append(bench.turn(name, whole if width == 3 else whole // 2))
                told = ", ".join(f"{way} {rate:,.0f}" for way, rate in turns[name][-1]._asdict().items())
                _say(f"{name}, turn {number + 1} of {TURNS}: {told} events/s")
    return {"benchmark": "inference", "rows": whole, "batch": BATCH, **figures(turns)}


def steady_rate(marks: Sequence[tuple[int, float]]) -> float:
    """Return rows per second from marks (row, seconds) in any order, without the first third of them."""
    kept = sorted(marks)[len(marks) // 3 :]
    (first, started), (last, ended) = kept[0], kept[-1]
    if ended <= started:
        raise ValueError(f"rows {first} to {last} came out at once: take more rows")
    return (last - first) / (ended - started)


def figures(turns: Mapping[str, Sequence[Turn]]) -> dict[str, float]:
    """Return the JSON of all models; the first one's figures also without its name."""
    found: dict[str, float] = {}
    for name, measured in turns.items():
        mine: dict[str, float] = {"events_per_s": round(median(turn.ours for turn in measured))}
        for way, digits in (("row_udf", 1), ("noop_udf", 3), ("raw_runtime", 3)):
            mine[f"vs_{way}"] = round(median(turn.ours / getattr(turn, way) for turn in measured), digits)
            mine[f"{way}_per_s"] = round(median(getattr(turn, way) for turn in measured))
        found = (found or mine) | {f"{name}.{key}": value for key, value in mine.items()}
    return found


def make_model(name: str) -> bytes:
    """Return a classifier of two classes as scikit-learn and skl2onnx make it, with probabilities as an array."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.neural_network import MLPClassifier

    rows = features(MODELS[name], 2_000)
    label = (rows.mean(axis=1) > 0.5).astype(int)
    model: Any = {
        "mlp": MLPClassifier((64, 32), max_iter=30, random_state=7, tol=1.0),
        "trees": GradientBoostingClassifier(n_estimators=100, random_state=7),
        "wide50": MLPClassifier((64, 32), max_iter=30, random_state=7, tol=1.0),
    }[name]
    model.fit(rows, label)
    exported = to_onnx(model, rows[:1], options={id(model): {"zipmap": False}}, target_opset={"": 17, "ai.onnx.ml": 3})
    return bytes(exported.SerializeToString())


def features(width: int, count: int) -> Any:
    """Return what ``SOURCE`` and the queries give for the first rows, [count, width] of float32."""
    n = np.arange(count, dtype=np.int64)
    return np.stack([n * factor % 997 / 997.0 for factor in _factors(width)], axis=1).astype(np.float32)


def _factors(width: int) -> list[int]:
    return [31 + 6 * at for at in range(width)]


class _Bench:
    """Flink with all functions under their names, and a folder with the models."""

    def __init__(self, folder: Path) -> None:
        from thalweg.jobs.environment import make_environment

        self._folder, self._jobs = folder, 0
        self._env = make_environment("throughput", {"python.fn-execution.arrow.batch.size": str(BATCH)}, None, 1)
        self._env.execute_sql("CREATE TEMPORARY FUNCTION onnx_score AS 'thalweg.udfs.sql.onnx_score' LANGUAGE PYTHON")
        self._env.create_temporary_function("noop", _noop())
        self._env.create_temporary_function("per_row", _per_row())

    def turn(self, name: str, rows: int) -> Turn:
        # One call per row is so slow that a fraction of the rows, in shorter bundles, tells its rate.
        per_row = self.rate(name, "per_row", rows // 15, BUNDLE // 15)
        return Turn(self.rate(name, "onnx_score", rows), per_row, self.rate(name, "noop", rows), self._raw(name))

    def rate(self, name: str, function: str, rows: int, bundle: int = BUNDLE) -> float:
        """Return the events per second of one job."""
        self._jobs += 1
        self._env.get_config().set("python.fn-execution.bundle.size", str(bundle))
        source, sink, folder = f"numbers_{self._jobs}", f"marks_{self._jobs}", self._folder / f"marks_{self._jobs}"
        self._env.execute_sql(SOURCE.format(table=source, rows=rows, last=rows - 1))
        self._env.execute_sql(SINK.format(table=sink, folder=folder))
        columns = ", ".join(f"MOD(n * {factor}, 997) / 997.0E0" for factor in _factors(MODELS[name]))
        path = self._folder / f"{name}.onnx"
        query = QUERY.format(sink=sink, function=function, path=path, columns=columns, source=source, every=bundle)
        started = time.perf_counter()
        self._env.execute_sql(query).wait()
        seconds = time.perf_counter() - started
        found = steady_rate(read_marks(folder))
        _say(f"{name}: {function}, {rows:,} rows in {seconds:.1f} s with its start, {found:,.0f} events/s")
        return found

    def _raw(self, name: str) -> float:
        """The limit: the runtime itself, on one thread, its input ready in memory."""
        session = _session(str(self._folder / f"{name}.onnx"))
        given = {session.get_inputs()[0].name: features(MODELS[name], BATCH)}
        wanted = [session.get_outputs()[1].name]
        session.run(wanted, given)
        taken: list[float] = []
        until = time.perf_counter() + _RAW_S
        while len(taken) < 5 or time.perf_counter() < until:
            started = time.perf_counter()
            session.run(wanted, given)
            taken.append(time.perf_counter() - started)
        return BATCH / median(taken)


def read_marks(folder: Path) -> list[tuple[int, float]]:
    """Return the marks (row, seconds) that a job wrote."""
    marks = []
    for path in folder.iterdir():
        if not path.name.startswith((".", "_")):
            with open(path, newline="") as file:
                marks += [(int(n), int(ms) / 1000) for n, ms in csv.reader(file)]
    return marks


def _session(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _noop() -> Any:
    """What every vectorised function costs: Flink, Arrow, pandas."""
    from pyflink.table import DataTypes
    from pyflink.table.udf import ScalarFunction, udf

    # Not a plain function: PyFlink compares the length of its result with that of its first argument, a text here.
    class First(ScalarFunction):  # type: ignore[misc]
        def eval(self, model: Any, *columns: Any) -> Any:
            return columns[0]

    return udf(First(), result_type=DataTypes.DOUBLE(), func_type="pandas")


def _per_row() -> Any:
    """The way of the books: open a session once, call it for each row."""
    import numpy
    import onnxruntime
    from pyflink.table import DataTypes
    from pyflink.table.udf import ScalarFunction, udf

    class Score(ScalarFunction):  # type: ignore[misc]
        def open(self, function_context: Any) -> None:
            self.session: Any = None

        def eval(self, model: str, *values: float) -> float:
            if self.session is None:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
                self.input, self.output = self.session.get_inputs()[0].name, self.session.get_outputs()[1].name
            given = numpy.array([values], dtype=numpy.float32)
            return float(self.session.run([self.output], {self.input: given})[0][0, 1])

    return udf(Score(), result_type=DataTypes.DOUBLE())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
