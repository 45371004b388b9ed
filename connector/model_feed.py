"""A live view of a model topic: one thread follows it, and tells whoever asked when another version is to serve."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from thalweg.connector.client import open_topic
from thalweg.connector.errors import ConfigError, SetupError, SignatureError, SnapshotError, ThalwegError, WireError
from thalweg.connector.models import ModelTopic
from thalweg.connector.modelstate import ModelState, ModelVersion, Pointer, fold, pointer_of, version_of
from thalweg.connector.probe import AccessError
from thalweg.connector.signing import Trust
from thalweg.connector.snapshot import Parts, Snapshot, assemble
from thalweg.connector.wire import decode

__all__ = ["ModelFeed"]

_log = logging.getLogger(__name__)
_POLL_MS = 250
_CHECK_S = 5.0
_RETRY_S = 1.0
_ANSWER_MS = 5_000
_PATIENCE = {"reconnect_backoff_max_ms": 1_000, "bootstrap_timeout_ms": 5_000}


class ModelFeed:
    """Follows a topic of models from its beginning, without a consumer group: every process sees every record.

    Parameters
    ----------
    brokers, topic : str
        Where the models are published.
    report : callable
        Takes one sentence when the broker falls silent, when it answers again, and about each damaged record.
    trust : Trust, optional
        Whose signatures are believed; what others have published is reported and passed over.
    **security
        Settings of kafka-python; never part of a text.

    Notes
    -----
    Files are dropped but for the newest one of each watched model, so that a job does not grow with every version.
    Older ones are read again when they are to serve.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        report: Callable[[str], None] = _log.warning,
        trust: Trust | None = None,
        **security: Any,
    ) -> None:
        self._brokers, self._topic, self._report, self._security = brokers, topic, report, security
        self._trust = trust
        self._lock = threading.RLock()
        self._watchers: dict[str, list[Callable[[ModelState], None]]] = {}
        self._doubters: dict[Callable[[ModelState], None], Callable[[int, str], None]] = {}
        self._versions: dict[str, dict[int, ModelVersion]] = {}
        self._pointers: dict[str, Pointer] = {}
        self._newest: dict[str, ModelVersion] = {}
        self._parts = Parts()
        self._states: dict[str, ModelState] = {}
        self._told: dict[str, int | None] = {}
        self._ready, self._stop = threading.Event(), threading.Event()
        self._silent = False
        self._denied: ThalwegError | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"ModelFeed({self._brokers!r}, {self._topic!r})"

    def models(self, timeout_s: float) -> dict[str, ModelState]:
        """Return the models without their files, once the topic has been read up to its end.

        Raises
        ------
        SetupError
            That took longer than ``timeout_s``, or the broker refuses the login.
        ConfigError
            The security settings are wrong.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name=f"models-{self._topic}", daemon=True)
                self._thread.start()
        end = time.monotonic() + timeout_s
        while not self._ready.wait(_POLL_MS / 1000):
            with self._lock:
                denied = self._denied
            if denied is not None:  # waiting longer is of no use
                raise denied
            if time.monotonic() < end:
                continue
            raise SetupError(
                f"The models in topic '{self._topic}' at {self._brokers} could not be read in {timeout_s:g} s: check "
                "that the broker runs and that the topic exists ('thalweg models publish' makes it)."
            )
        with self._lock:
            return dict(self._states)

    def watch(
        self, name: str, changed: Callable[[ModelState], None], refused: Callable[[int, str], None] | None = None
    ) -> None:
        """Call ``changed`` from the feed's thread whenever another version of a model is to serve.

        Parameters
        ----------
        name : str
            The model.
        changed : callable
            Takes its new state.
        refused : callable, optional
            Takes a version, 0 for the pointer, and why it is passed over: ``trust`` refuses it. What is in the topic
            from before the feed began is not told, or each process would tell it anew.
        """
        with self._lock:
            self._watchers.setdefault(name, []).append(changed)
            if refused is not None:
                self._doubters[changed] = refused

    def unwatch(self, name: str, changed: Callable[[ModelState], None]) -> None:
        """Take a watcher back; with the last one the thread ends."""
        with self._lock:
            left = [one for one in self._watchers.get(name, []) if one != changed]
            self._watchers[name] = left
            self._doubters.pop(changed, None)
            if not any(self._watchers.values()):
                self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the thread has been told to end."""
        return self._stop.is_set()

    def fetch(self, name: str, version: int) -> ModelVersion:
        """Return a version with its file; raises ConfigError if it is gone, SetupError without a broker."""
        with self._lock:
            newest = self._newest.get(name)
        if newest is not None and newest.version == version:
            return newest
        topic = ModelTopic(self._brokers, self._topic, report=self._report, trust=self._trust, **self._security)
        return topic.find(name, version)[0]

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                with open_topic(self._brokers, self._topic, self._security, **_PATIENCE) as (consumer, partitions):
                    with self._lock:
                        self._denied = None
                    consumer.assign(partitions)
                    consumer.seek_to_beginning(*partitions)
                    self._read(consumer, partitions)
            except (AccessError, ConfigError) as error:
                with self._lock:
                    self._denied = error
                self._say_silent(str(error))
            except ThalwegError as error:
                self._say_silent(str(error))
            except Exception as error:  # a thread that dies would leave the old model serving for ever, in silence
                self._say_silent(f"{type(error).__name__}: {error}")
            self._stop.wait(_RETRY_S)

    def _read(self, consumer: Any, partitions: list[Any]) -> None:
        ends = consumer.end_offsets(partitions)
        for known in (self._versions, self._pointers, self._parts.waiting):
            known.clear()  # all of it comes again
        checked = time.monotonic()
        while not self._stop.is_set():
            polled = consumer.poll(timeout_ms=_POLL_MS)
            for records in polled.values():
                for record in records:
                    self._take(record)
            if polled or not self._ready.is_set():
                if all(consumer.position(partition) >= ends[partition] for partition in partitions):
                    self._settle()
                    self._ready.set()
                    self._say_answers()
            elif time.monotonic() - checked > _CHECK_S:
                # Raises where nobody answers: a poll would say nothing.
                consumer.end_offsets(partitions, timeout_ms=_ANSWER_MS)
                checked = time.monotonic()
                self._say_answers()

    def _take(self, record: Any) -> None:
        """Take one record in: a part of a snapshot, a whole one, or the tombstone of one."""
        if record.value is None:
            name, _, number = (record.key or b"").decode("utf-8", "replace").partition("/")
            if number.isdecimal() and len(number) < 20:
                self._versions.get(name, {}).pop(int(number), None)
            return
        try:
            parts = self._parts.add(decode("snapshot", record.value))
            if not parts:
                return
            snapshot = assemble((part for part, _ in parts.values()), trust=self._trust)
            if not snapshot.key:
                self._point(pointer_of(snapshot.model, snapshot), snapshot)
                return
            version = version_of(snapshot.model, snapshot.key, snapshot)
        except (WireError, SnapshotError, ValueError, RecursionError) as error:
            if isinstance(error, SignatureError):
                self._say_refused(next(iter(parts.values()))[0], str(error))
            self._report(f"{self._topic}-{record.partition} at offset {record.offset} is passed over: {error}")
            return
        with self._lock:
            if self._watchers.get(version.name):
                self._newest[version.name] = version
        self._versions.setdefault(version.name, {})[version.version] = replace(version, blob=b"", golden={})

    def _point(self, pointer: Pointer, snapshot: Snapshot) -> None:
        known = self._pointers.get(snapshot.model)
        if self._trust is not None and known is not None and pointer.counter < known.counter:
            raise SignatureError(f"the pointer of model '{snapshot.model}' is an old one, sent again")
        self._pointers[snapshot.model] = pointer

    def _say_refused(self, record: Mapping[str, Any], reason: str) -> None:
        if self._ready.is_set():
            with self._lock:
                watchers = self._watchers.get(record["model"], ())
                doubters = [self._doubters[changed] for changed in watchers if changed in self._doubters]
            for refused in doubters:
                refused(record["version"] if record["key"] else 0, reason)

    def _settle(self) -> None:
        """Work out the models, and tell the watchers of those of which another version is to serve."""
        states = fold(self._versions, self._pointers, self._report)
        with self._lock:
            self._states = states
            calls = [
                (changed, state)
                for name, state in states.items()
                for changed in self._watchers.get(name, ())
                if self._told.get(name) != state.serving
            ]
            self._told = {name: state.serving for name, state in states.items()}
        for changed, state in calls:
            changed(state)

    def _say_silent(self, reason: str) -> None:
        if not self._silent:
            self._silent = True
            self._report(f"Models in topic '{self._topic}' cannot be followed; what serves goes on serving. {reason}")

    def _say_answers(self) -> None:
        if self._silent:
            self._silent = False
            self._report(f"Models in topic '{self._topic}' are followed again.")
