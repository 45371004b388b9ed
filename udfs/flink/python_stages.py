"""Where a job's rows cross into Python and back: counted in the graph that Flink would run."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyflink.java_gateway import get_gateway
from pyflink.table import StatementSet, StreamTableEnvironment

__all__ = ["PythonStages", "python_stages"]

_PYTHON = ".operators.python."
_ARROW = ".arrow."
_PROCESS = ".process."


class PythonStages(NamedTuple):
    """The Python operators of a job.

    Attributes
    ----------
    batched : int
        Those that take rows in Arrow batches: a row costs well below a microsecond to cross.
    blocks : int
        Those that take blocks of rows, the operators that learn and evaluate: about 30 microseconds per block, which
        has up to an Arrow batch of rows.
    single : int
        Those that take row by row: about 30 microseconds per row. Thalweg has none; functions of the file's own may.
    longest : int
        Those that a row passes one after the other, on the longest way from a source to a sink.
    """

    batched: int
    blocks: int
    single: int
    longest: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.batched + self.blocks + self.single


def python_stages(t_env: StreamTableEnvironment, statements: StatementSet) -> PythonStages:
    """Return the Python operators of what the statements would run; they cannot be executed after that."""
    environment = t_env._j_tenv.execEnv()
    # What no statement reads is there as well, and would not run.
    others = get_gateway().jvm.java.util.ArrayList(environment.getTransformations())
    statements.attach_as_datastream()
    environment.getTransformations().removeAll(others)
    nodes = environment.getStreamGraph(False).getStreamNodes().toArray()
    classes = {node.getId(): _operator(node) for node in nodes}
    before = {node.getId(): [edge.getSourceId() for edge in node.getInEdges()] for node in nodes}
    python = {at: name for at, name in classes.items() if _PYTHON in name}
    batched = sum(_ARROW in name for name in python.values())
    blocks = sum(_PROCESS in name for name in python.values())
    longest: dict[int, int] = {}

    def passed(at: int) -> int:
        if at not in longest:
            longest[at] = (at in python) + max((passed(source) for source in before[at]), default=0)
        return longest[at]

    return PythonStages(batched, blocks, len(python) - batched - blocks, max(map(passed, classes), default=0))


def _operator(node: Any) -> str:
    """Return the class of an operator; empty where Flink makes it as it runs, which it does with none of Python's."""
    factory = node.getOperatorFactory()
    if factory is None or not factory.getClass().getName().endswith(".SimpleOperatorFactory"):
        return ""
    return str(factory.getOperator().getClass().getName())
