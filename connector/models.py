"""Models as files in a compacted Kafka topic: numbered versions, and for each model a pointer to the one that serves.

Both are snapshots. A version has its number as key and the file as blob; the pointer has the empty key and kind
``serving``, and compaction keeps the last one. Of several who write at once each has a change of its own, one after the
other: no number is taken twice, and none of them is lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any, TypeVar

from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.connector.kafka import SnapshotTopic, create_topics
from thalweg.connector.keys import Key
from thalweg.connector.modelstate import (
    SERVING,
    ModelState,
    ModelVersion,
    Pointer,
    check_name,
    gate_problems,
    numbers_of,
    pointer_of,
    state_of,
    version_of,
)
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import MAX_SNAPSHOT_BYTES, Snapshot
from thalweg.connector.snapshot_signature import sign_snapshot
from thalweg.connector.sole_writer import Change, change_alone

__all__ = ["ModelState", "ModelTopic", "ModelVersion", "check_name", "state_of"]

_log = logging.getLogger(__name__)
_Snapshots = dict[tuple[str, str], Snapshot]
_Result = TypeVar("_Result")


class ModelTopic:
    """The topic that models are published to, as files, for jobs that serve them.

    Parameters
    ----------
    brokers : str
        ``host:port``, comma separated.
    topic : str
        The topic; compacted, with one partition.
    report : callable, optional
        Takes one sentence about each record that was passed over; by default it is logged as a warning.
    max_model_bytes : int
        Largest file to send or to accept, in bytes.
    signer : Key, optional
        Signs every version and every pointer that is sent.
    trust : Trust, optional
        Whose signatures are believed; what others have sent is reported and passed over.
    **security
        Settings of kafka-python such as ``security_protocol``; in no text that this class gives.

    Notes
    -----
    Each method reads the whole topic first, and raises SetupError if the broker or the topic cannot be used. One that
    writes does it in a transaction, alone: see ``sole_writer``.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        *,
        report: Callable[[str], None] = _log.warning,
        max_model_bytes: int = MAX_SNAPSHOT_BYTES,
        signer: Key | None = None,
        trust: Trust | None = None,
        **security: Any,
    ) -> None:
        self._brokers, self._topic, self._security = brokers, topic, security
        self._report, self._limit, self._signer = report, max_model_bytes, signer
        limits: dict[str, Any] = {"max_snapshot_bytes": max_model_bytes, "trust": trust}
        self._store = SnapshotTopic(brokers, topic, report=report, **limits, **security)

    def __repr__(self) -> str:
        return f"ModelTopic({self._brokers!r}, {self._topic!r})"

    def create(self) -> None:
        """Make the topic, compacted and with one partition, so that its order is total; one that exists stays."""
        create_topics(self._brokers, {self._topic: {"partitions": 1, "compact": True}}, **self._security)

    def models(self) -> dict[str, ModelState]:
        """Return all models by name."""
        return state_of(self._store.latest(), self._report)

    def find(self, name: str, version: int | None = None) -> tuple[ModelVersion, ModelState]:
        """Return a version of a model, by default the one that serves or else the newest, and the model.

        Raises
        ------
        ConfigError
            There is no such model or version.
        """
        _, state = self._found(name)
        number = version or state.serving or max(state.versions, default=0)
        if number not in state.versions:
            raise _unknown_version(state, number)
        return state.versions[number], state

    def publish(
        self,
        name: str,
        data: bytes,
        *,
        file: str,
        note: str = "",
        gate: Mapping[str, float | int | bool] | None = None,
        metrics: Mapping[str, float] | None = None,
        golden: Mapping[str, Any] | None = None,
        uri: str | None = None,
        serve: bool = True,
        kind: str = "onnx",
    ) -> ModelVersion:
        """Publish a file as the next version of a model, and let it serve.

        Parameters
        ----------
        name : str
            The model: 1 to 128 letters, digits, ``_``, ``-`` or ``.``.
        data : bytes
            The file.
        file : str
            Its name; a folder before it is left out.
        note : str
            For people.
        gate : mapping, optional
            What the version has to reach, as in ``ModelVersion``.
        metrics : mapping of str to float, optional
            What was measured, as in ``ModelVersion``; finite.
        golden : mapping, optional
            Rows and the answers to them, as in ``ModelVersion``; fit for JSON.
        uri : str, optional
            Publish by reference: where readers find the same bytes, which are then not sent.
        serve : bool
            Whether the pointer moves to this version. It always moves to the first one.
        kind : str
            Engine that can load the file.

        Raises
        ------
        ConfigError
            Lists all that is wrong with the name, the gate, the file and the URI.
        SnapshotError
            The file, or what describes it, is too large for the topic; nothing has been sent.
        """
        gate = dict(gate or {})
        _check(name, data, gate, uri)
        if uri is None and len(data) > self._limit:
            what = f"the file has {len(data)} bytes, the limit of the topic is {self._limit}."
            raise SnapshotError(f"Model '{name}': {what} Publish it by reference, or raise 'max_model_bytes'.")
        about: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "note": note, **gate}
        about |= {"file": re.split(r"[/\\]", file)[-1]} | ({} if uri is None else {"uri": uri})
        about |= {"golden": dict(golden)} if golden else {}

        def published(change: Change) -> ModelVersion:
            snapshots = self._store.latest()
            pointer = self._settled(name, snapshots)
            taken = [*snapshots, *self._store.refused]  # a number is not given twice, whoever took it
            number = 1 + max([pointer.last, *numbers_of(name, taken)])
            snapshot = _snapshot(name, str(number), kind, about, number, data if uri is None else b"")
            snapshot = replace(snapshot, metrics=dict(metrics or {}))
            change.publish(self._signed(snapshot))
            pointer = pointer.settled([number])
            pointer = pointer.moved(number) if serve or pointer.serving is None else pointer
            self._point(change, name, pointer, snapshots)
            return version_of(name, str(number), snapshot)

        return self._alone(published)

    def promote(self, name: str, version: int) -> ModelState:
        """Let a version serve; raises ConfigError if there is no such model or version."""

        def promoted(change: Change) -> ModelState:
            snapshots, state = self._found(name, version)
            pointer = self._settled(name, snapshots)
            return state if pointer.serving == version else self._point(change, name, pointer.moved(version), snapshots)

        return self._alone(promoted)

    def follow(self, name: str, version: int, decided_ms: int, decision: str, by: str, reason: str) -> bool:
        """Let a version serve as an experiment decided, once per decision; return whether it was new.

        ``decision`` names what was decided at ``decided_ms``; it stands in the pointer, with who and why. One from
        before the last one is passed over. Raises ConfigError if there is no such model or version.
        """

        def followed(change: Change) -> bool:
            snapshots, _ = self._found(name, version)
            pointer = self._settled(name, snapshots)
            new = not pointer.has_followed(decided_ms, decision)
            pointer = replace(pointer.moved(version), by=by, reason=reason, followed=(decided_ms, decision))
            return new and bool(self._point(change, name, pointer, snapshots))

        return self._alone(followed)

    def rollback(self, name: str) -> ModelState:
        """Let the version serve that served before; raises ConfigError if there is no such model or no such version.

        The version that is left is not remembered, so that rolling back again goes further back.
        """

        def rolled_back(change: Change) -> ModelState:
            snapshots, state = self._found(name)
            back = [number for number in state.previous if number != state.serving]
            if not back:
                remedy = f"Promote one of its versions: {_listed(state)}."
                raise ConfigError([Problem(f"model '{name}'", "no version that served before is left.", remedy)])
            pointer = self._settled(name, snapshots)
            pointer = replace(pointer, serving=back[0], previous=tuple(back[1:]), by="", reason="")
            return self._point(change, name, pointer, snapshots)

        return self._alone(rolled_back)

    def retire(self, name: str, version: int) -> ModelState:
        """Delete a version for good; its number is not used again. Once more does no harm.

        Raises
        ------
        ConfigError
            There is no such model or version, or it is the one that serves.
        """

        def retired(change: Change) -> ModelState:
            snapshots, state = self._found(name)
            pointer = self._settled(name, snapshots)
            stored = snapshots.get((name, str(version)))
            if stored is None:
                raise _unknown_version(state, version)
            if version == pointer.serving:
                where, what = f"model '{name}', version {version}", "it serves, and cannot be retired."
                raise ConfigError([Problem(where, what, "Promote another one first.")])
            state = self._point(change, name, pointer.without(version), snapshots)
            change.bury(stored)
            return state

        return self._alone(retired)

    def _alone(self, work: Callable[[Change], _Result]) -> _Result:
        return change_alone(self._brokers, self._topic, self._security, self._limit, work)

    def _signed(self, snapshot: Snapshot) -> Snapshot:
        return snapshot if self._signer is None else sign_snapshot(snapshot, self._signer)

    def _found(self, name: str, version: int | None = None) -> tuple[_Snapshots, ModelState]:
        snapshots = self._store.latest()
        states = state_of(snapshots, self._report)
        if name not in states:
            near = get_close_matches(name, states, 1)
            remedy = f"Did you mean '{near[0]}'?" if near else f"Models there: {', '.join(states) or 'none'}."
            raise ConfigError([Problem(f"model '{name}'", f"there is none in topic {self._topic}.", remedy)])
        if version is not None and version not in states[name].versions:
            raise _unknown_version(states[name], version)
        return snapshots, states[name]

    def _settled(self, name: str, snapshots: _Snapshots) -> Pointer:
        stored, pointer = snapshots.get((name, "")), Pointer()
        if stored is not None and stored.kind != SERVING:  # a pointer would replace what a job wants back
            what = f"topic {self._topic} holds its snapshot, of kind '{stored.kind}', from a job."
            raise ConfigError([Problem(f"model '{name}'", what, "Publish to a topic of its own.")])
        if stored is not None:
            try:
                pointer = pointer_of(name, stored)
            except (ValueError, RecursionError):  # a new one takes its place
                pointer = Pointer(counter=stored.version)
        return pointer.settled(numbers_of(name, snapshots))

    def _point(self, change: Change, name: str, pointer: Pointer, snapshots: _Snapshots) -> ModelState:
        snapshot = _snapshot(name, "", SERVING, pointer.about(), pointer.counter + 1, b"")
        change.publish(self._signed(snapshot))
        states = state_of({**snapshots, (name, ""): snapshot}, report=lambda _: None)
        return states[name]


def _check(name: str, data: bytes, gate: Mapping[str, Any], uri: str | None) -> None:
    problems = gate_problems(gate)
    if not data:
        problems.append(Problem(f"model '{name}'", "the file is empty.", "Export the model again."))
    if uri == "":
        problems.append(Problem(f"model '{name}'", "the URI is empty.", "Leave it out, or say where the file lies."))
    try:
        check_name(name)
    except ConfigError as error:
        problems = [*error.problems, *problems]
    if problems:
        raise ConfigError(problems)


def _unknown_version(state: ModelState, version: int) -> ConfigError:
    where = f"model '{state.name}', version {version}"
    return ConfigError([Problem(where, "there is no such version.", f"There are {_listed(state)}.")])


def _listed(state: ModelState) -> str:
    return ", ".join(map(str, state.versions)) or "none"


def _snapshot(name: str, key: str, kind: str, about: Mapping[str, Any], version: int, blob: bytes) -> Snapshot:
    try:
        writer = f"thalweg {installed('thalweg')}"
    except PackageNotFoundError:
        writer = "thalweg without metadata"
    spec = json.dumps(about, sort_keys=True, separators=(",", ":"))
    return Snapshot(name, key, kind, spec, version, int(time.time() * 1000), blob, writer=writer)
