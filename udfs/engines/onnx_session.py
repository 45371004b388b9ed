"""One way to a live ONNX Runtime session: checked before it is built, single-threaded, safe after a fork."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.onnx_graph import Graph, read_graph
from thalweg.udfs.engines.onnx_limits import check_size

__all__ = ["ALLOWED_OPS", "OnnxSession", "SessionSettings"]

ALLOWED_OPS = "THALWEG_CUSTOM_OPS"
"""Environment variable: files and folders that libraries of operators may be loaded from, separated as in PATH."""

_FOLDER = "session.model_external_initializers_file_folder_path"
_QUIET = 4  # only what is fatal: ORT writes its own log to standard error, and raises the same text


class SessionSettings(NamedTuple):
    """How a session is to run.

    Attributes
    ----------
    threads : int
        Threads of one inference. A task slot shares its machine with others: 1.
    providers : tuple of str
        Execution providers of ONNX Runtime, the preferred one first.
    entries : tuple of (str, str)
        Session configuration entries of ONNX Runtime, such as ``session.set_denormal_as_zero``.
    custom_ops : tuple of str
        Shared libraries with operators beyond the standard. Each is native code that runs in the worker, so whoever
        runs the worker must have allowed it in ``ALLOWED_OPS``.
    """

    threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    entries: tuple[tuple[str, str], ...] = ()
    custom_ops: tuple[str, ...] = ()


class OnnxSession:
    """A loaded ONNX model.

    Parameters
    ----------
    data : bytes
        The model.
    where : str
        Names the model in errors.
    settings : SessionSettings
        Threads, providers, further settings.
    folder : str, optional
        Where the files lie that keep the model's large weights; without it a model must carry all its weights.

    Attributes
    ----------
    inputs, outputs : list of onnxruntime.NodeArg
        What the model takes and gives.
    graph : Graph
        What the file says beyond that.
    batch : int or None
        How many rows the model takes at a time, where its inputs say so.

    Raises
    ------
    ConfigError
        Not a model, newer than the runtime, weights in files that are missing, outside the folder or too large, a
        provider that this machine lacks, or a library of operators that is not allowed.

    Notes
    -----
    No spinning, no arena: between two records a worker's processor belongs to others, and batches vary in size. They
    are not filled up to a few sizes: memory stays flat over a thousand batches of ever new sizes. Single
    rows are run as two, because ONNX Runtime multiplies one row by another routine than many, with other last bits: so
    a batch equals one by one.
    """

    def __init__(
        self, data: bytes, where: str, settings: SessionSettings | None = None, folder: str | None = None
    ) -> None:
        self._data, self._where, self._settings, self._folder = data, where, settings or SessionSettings(), folder
        missing = [name for name in self._settings.providers if name not in onnxruntime.get_available_providers()]
        if missing:
            there = ", ".join(onnxruntime.get_available_providers())
            raise ConfigError(
                [
                    Problem(f"{where}, provider '{name}'", "is not on this machine.", f"It has: {there}.")
                    for name in missing
                ]
            )
        self._check_custom_ops()
        if any(name == _FOLDER for name, _ in self._settings.entries):
            what = f"'{_FOLDER}' would let it read weights from anywhere."
            raise ConfigError(
                [Problem(f"{where}, option 'session-options'", what, "Put the weights beside the model.")]
            )
        try:
            self.graph: Graph = read_graph(data)
            self._check_external()
            self._session, self._owner = self._new(), os.getpid()
            self.inputs, self.outputs = self._session.get_inputs(), self._session.get_outputs()
            for node in (*self.inputs, *self.outputs):  # the runtime loads names that are no UTF-8, and fails here
                _ = node.name, node.type, node.shape
        except ConfigError:
            raise
        except Exception as error:
            what = f"is not a model that ONNX Runtime {onnxruntime.__version__} can load ({error})."
            remedy = (
                "Check the file, or export it for an older opset and with the operators of the standard; a library of "
                "further operators is named by ?custom-ops=/path/of/it.so."
            )
            raise ConfigError([Problem(where, what, remedy)]) from error
        sizes = [node.shape[0] for node in self.inputs if node.shape and isinstance(node.shape[0], int)]
        self.batch: int | None = sizes[0] if sizes else None

    def run(self, names: Sequence[str], feeds: Mapping[str, Any], count: int) -> list[Any]:
        """Return the outputs ``names`` for ``count`` rows; a fixed batch is filled up with its last row and cut again.

        Raises
        ------
        Exception
            Whatever ONNX Runtime raises on rows that the model cannot take.
        """
        session = self._live()
        size = self.batch
        if size is None:
            if count > 1:
                return list(session.run(names, dict(feeds)))
            twice = {name: array.repeat(2, axis=0) for name, array in feeds.items()}
            return [_cut(part, 1, 2) for part in session.run(names, twice)]
        parts = []
        for start in range(0, count, size):
            rows = min(size, count - start)
            chunk = {name: array[start : start + rows] for name, array in feeds.items()}
            if rows < size:
                chunk = {
                    name: np.concatenate([array, array[-1:].repeat(size - rows, axis=0)])
                    for name, array in chunk.items()
                }
            parts.append([_cut(part, rows, size) for part in session.run(names, chunk)])
        return [_joined(column) for column in zip(*parts, strict=True)]

    def _live(self) -> Any:
        """Return the session; a process that was forked makes its own, as the parent's threads are not there."""
        if self._owner != os.getpid():
            self._session, self._owner = self._new(), os.getpid()
        return self._session

    def _new(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._settings.threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = _QUIET
        for pool in ("intra_op", "inter_op"):
            options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
        if self.graph.external and self._folder:
            options.add_session_config_entry(_FOLDER, self._folder)
        for name, value in self._settings.entries:
            options.add_session_config_entry(name, value)
        for library in self._settings.custom_ops:
            options.register_custom_ops_library(library)
        return onnxruntime.InferenceSession(self._data, options, providers=list(self._settings.providers))

    def _check_custom_ops(self) -> None:
        allowed = [Path(part).resolve() for part in os.environ.get(ALLOWED_OPS, "").split(os.pathsep) if part]
        problems = []
        for name in self._settings.custom_ops:
            where, path = f"{self._where}, option 'custom-ops'", Path(name)
            library = path.resolve()  # where links lead, so that none leads out of an allowed folder
            if not path.is_absolute() or not any(library.is_relative_to(place) for place in allowed):
                what = f"'{name}' may not be loaded: it is native code."
                remedy = f"Whoever runs the workers allows it by its absolute path, or its folder, in {ALLOWED_OPS}."
                problems.append(Problem(where, what, remedy))
            elif not library.is_file():
                problems.append(Problem(where, f"there is no file '{name}'.", "Copy it to every worker."))
        if problems:
            raise ConfigError(problems)

    def _check_external(self) -> None:
        if not self.graph.external:
            return
        if self._folder is None:
            what = f"keeps weights in other files ({', '.join(self.graph.external[:5])}), which do not travel with it."
            raise ConfigError(
                [
                    Problem(
                        self._where, what, "Save it as one file (save_as_external_data=False), or serve it by its path."
                    )
                ]
            )
        folder = Path(self._folder).resolve()
        problems, size = [], len(self._data)
        for name in sorted(set(self.graph.locations)):
            file = (folder / name).resolve()
            if not file.is_relative_to(folder):
                what = f"keeps weights in '{name}', outside the model's own folder."
                problems.append(Problem(self._where, what, "Export the model with its weights beside it."))
            elif not file.is_file():
                what = f"keeps weights in '{name}', and that file is not beside the model."
                problems.append(Problem(self._where, what, "Copy it together with the model."))
            else:
                size += file.stat().st_size
        if problems:
            raise ConfigError(problems)
        check_size(size, self._where)


def _cut(part: Any, rows: int, given: int) -> Any:
    """Return the first rows of an output for ``given`` rows: an array, one dict per row, or a list of arrays."""
    if isinstance(part, list) and part and isinstance(part[0], np.ndarray):
        return [_cut(array, rows, given) for array in part]
    found = len(part) if isinstance(part, list) or part.ndim else 0
    if found != given:
        raise ValueError(f"it gave {found} answers for {given} rows")
    return part[:rows]


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if not isinstance(parts[0], list):
        return np.concatenate(parts)
    if parts[0] and isinstance(parts[0][0], np.ndarray):
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return [row for part in parts for row in part]
