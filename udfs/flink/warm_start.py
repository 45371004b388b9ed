"""Gives the learning operator the models that its option ``'warm-start'`` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thalweg.connector.errors import ConfigError, Problem, SetupError, SignatureError, SnapshotError
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import Snapshot
from thalweg.connector.snapshot_file import snapshot_from_file
from thalweg.connector.snapshot_index import SnapshotIndex
from thalweg.connector.topic_log import TopicLog
from thalweg.udfs.engines import engine_class
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.onnx_reference import read_model
from thalweg.udfs.flink.meters import Meters
from thalweg.udfs.flink.served_models import Place
from thalweg.udfs.flink.snapshot_keys import trusted
from thalweg.udfs.logic.declaration import Declaration
from thalweg.udfs.logic.learning_outcome import Alert, Outcome
from thalweg.udfs.logic.origins import Kept
from thalweg.udfs.logic.warm_source import WarmSource

__all__ = ["WarmStart", "open_warm_start"]


class WarmStart:
    """A ``Lookup``: what was published of some keys, read when a key without a model comes.

    Parameters
    ----------
    find : callable
        Keys to snapshots.
    close : callable
        Lets go of what ``find`` reads from.
    where : str
        Names model and option, for errors.
    refused : dict of str to str
        Filled by ``find``: keys of which something was passed over because of its signature, and why.
    """

    def __init__(
        self,
        find: Callable[[Sequence[str]], Mapping[str, Snapshot]],
        close: Callable[[], None],
        where: str,
        refused: dict[str, str] | None = None,
    ) -> None:
        self._find, self._close, self._where = find, close, where
        self._refused = {} if refused is None else refused

    def __call__(self, keys: Sequence[str]) -> dict[str, Kept]:
        """Return what was found.

        Raises
        ------
        SetupError
            The broker cannot be used. The job fails then, and Flink starts it again: a key that has a model must not
            begin anew only because nobody could be asked for it.
        """
        try:
            return {key: Kept(found.spec, found.blob, found.watermark_ms) for key, found in self._find(keys).items()}
        except SetupError as error:
            raise SetupError(f"{self._where}: {error}") from error

    def tell(self, outcome: Outcome, meters: Meters) -> None:
        """Count what has been refused since the last call, and add one alert about it to an outcome."""
        if not self._refused:
            return
        (key, reason), count = next(iter(self._refused.items())), len(self._refused)
        self._refused.clear()
        meters.count("thalweg_snapshots_refused", count)
        more = f" So it is with {count - 1} more keys." if count > 1 else ""
        at_ms = max(outcome.answers.columns[2], default=0)
        outcome.alerts.append(Alert(key, "snapshot-refused", "warning", float(count), 0.0, at_ms, f"{reason}{more}"))

    def close(self) -> None:
        """Let go of what is read from."""
        self._close()


def open_warm_start(declaration: Declaration) -> WarmStart | None:
    """Open what the option ``'warm-start'`` of a model names; None where it names nothing.

    Of a topic each worker reads the keys of all records once, without a group; the models only when they are needed.

    Raises
    ------
    ConfigError
        The file is of no use to this model's engine, or cannot be read.
    SetupError
        The broker cannot be used, or has no such topic.
    """
    source = declaration.warm_start
    if source is None:
        return None
    where, trust = f"model {declaration.name}, option 'warm-start'", trusted(declaration)
    if source.is_file:
        return _file(declaration.spec, source, where, trust)
    return _topic(declaration, source, where, trust)


def _file(spec: EngineSpec, source: WarmSource, where: str, trust: Trust | None) -> WarmStart:
    try:
        data, _ = read_model(source.place)
        warm = getattr(engine_class(spec.kind), "warm", None)
        if warm is not None and not source.place.endswith(".avro"):
            if trust is not None and trust.required:
                raise SignatureError("an ONNX file is not signed, and only what is signed is accepted.")
            snapshot = Snapshot("", "", spec.kind, spec.to_json(), 0, 0, warm(spec, data).dump())
        else:
            snapshot = snapshot_from_file(data, trust=trust)
    except ConfigError as error:
        raise ConfigError(problem._replace(where=where) for problem in error.problems) from error
    except SignatureError as error:
        remedy = "'thalweg snapshots export --format river --signing-key' signs what it writes."
        raise ConfigError([Problem(where, f"'{source.place}': {error}", remedy)]) from error
    except SnapshotError as error:
        remedy = (
            f"The engine '{spec.kind}' starts from a snapshot, which 'thalweg snapshots export --format river' writes"
            " as a file."
        )
        if spec.kind == "neural":
            remedy += " To go on training an ONNX network, name its file in 'model'."
        raise ConfigError([Problem(where, f"'{source.place}': {error}", remedy)]) from error
    _check_kind(snapshot, spec, where)
    return WarmStart(lambda keys: {key: snapshot for key in keys if key == snapshot.key}, lambda: None, where)


def _topic(declaration: Declaration, source: WarmSource, where: str, trust: Trust | None) -> WarmStart:
    security: dict[str, Any] = {}
    try:
        security = dict(source.security) or Place(source.brokers, source.place, "", source.kafka_config).security()
        log = TopicLog(source.brokers, source.place, **security)
        index = SnapshotIndex(log, source.model or declaration.name, trust=trust)
    except ConfigError as error:
        raise ConfigError(problem._replace(where=f"{where}: {problem.where}") for problem in error.problems) from error
    except SetupError as error:
        raise SetupError(f"{where}: {error}") from error

    def find(keys: Sequence[str]) -> dict[str, Snapshot]:
        if declaration.revive == "snapshot":
            index.update()
        found = index.find(keys)
        for snapshot in found.values():
            _check_kind(snapshot, declaration.spec, where)
        return found

    return WarmStart(find, log.close, where, index.refused)


def _check_kind(snapshot: Snapshot, spec: EngineSpec, where: str) -> None:
    if snapshot.kind != spec.kind:
        what = f"holds a model of the engine '{snapshot.kind}', and this one is of '{spec.kind}'."
        raise ConfigError([Problem(where, what, f"Name a snapshot of the engine '{spec.kind}'.")])
