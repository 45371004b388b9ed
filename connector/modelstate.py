"""What the snapshots of a model topic say: which models there are, in which versions, and which one of each serves."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thalweg.connector.errors import ConfigError, Problem
from thalweg.connector.snapshot import Snapshot

__all__ = [
    "SERVING",
    "ModelState",
    "ModelVersion",
    "Pointer",
    "check_name",
    "fold",
    "gate_problems",
    "numbers_of",
    "pointer_of",
    "state_of",
    "version_of",
]

SERVING = "serving"
"""Kind of the snapshot that is the pointer of a model."""

_log = logging.getLogger(__name__)
_MAX_PREVIOUS = 100
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GATE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "auc-threshold": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "log-loss-threshold": (lambda value: _is_number(value) and 0 < value < math.inf, "a number above 0"),
    "num-eval-samples": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "allow-new-inputs": (lambda value: type(value) is bool, "true or false"),
}


@dataclass(frozen=True)
class ModelVersion:
    """One published version of a model.

    Attributes
    ----------
    name, version : str, int
        The model, and the number of this version; the first is 1.
    kind : str
        Engine that can load the file.
    file : str
        Base name of the file that was published.
    sha256, size : str, int
        SHA-256 of the file in lower-case hexadecimal, and its size in bytes.
    uri : str or None
        Where the file lies, if it was published by reference.
    published_ms : int
        When, epoch ms.
    note : str
        What the publisher said of it.
    gate : dict
        What it has to reach before it serves: any of ``auc-threshold``, ``log-loss-threshold``, ``num-eval-samples``
        and ``allow-new-inputs``.
    metrics : dict
        What was measured before it was published, such as ``auc``, ``log-loss`` and ``samples``.
    golden : dict
        Rows and the answers to them, for whoever loads it to show that it answers the same; empty without.
    blob : bytes
        The file; empty if it was published by reference.
    """

    name: str
    version: int
    kind: str
    file: str
    sha256: str
    size: int
    uri: str | None
    published_ms: int
    note: str = ""
    gate: dict[str, float | int | bool] = field(default_factory=dict, hash=False)
    metrics: dict[str, float] = field(default_factory=dict, hash=False)
    golden: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)
    blob: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ModelState:
    """A model with its versions that exist.

    Attributes
    ----------
    name : str
        The model.
    serving : int or None
        The version that serves; None where there is no pointer, or it names a version that does not exist.
    previous : tuple of int
        The existing versions that served before, the last one first.
    versions : dict of int to ModelVersion
        By number, ascending.
    by, reason : str
        Who let the version serve, and why, where that is known: of an experiment that is followed, its decision.
    """

    name: str
    serving: int | None
    previous: tuple[int, ...]
    versions: dict[int, ModelVersion] = field(hash=False)
    by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Pointer:
    """What the newest pointer says, whether or not the versions exist.

    Versions up to ``last`` exist only if they are in ``kept``: a reader may meet a retired one until it is compacted.
    ``followed`` is the last decision of an experiment that was carried out, its time in epoch ms and its name.
    """

    serving: int | None = None
    previous: tuple[int, ...] = ()
    last: int = 0
    kept: frozenset[int] | None = None  # None: whatever is in the topic
    counter: int = 0
    by: str = ""
    reason: str = ""
    followed: tuple[int, str] = (-1, "")

    def about(self) -> dict[str, Any]:
        """Return the pointer as its snapshot has it."""
        kept, followed = sorted(self.kept or ()), [] if self.followed[0] < 0 else list(self.followed)
        found = {SERVING: self.serving, "previous": list(self.previous), "last": self.last, "kept": kept}
        told = {"by": self.by, "reason": self.reason, "followed": followed}
        return found | {name: value for name, value in told.items() if value}

    def has_followed(self, decided_ms: int, decision: str) -> bool:
        """Tell whether a decision was carried out, or a later one."""
        return decided_ms < self.followed[0] or (decided_ms, decision) == self.followed

    def holds(self, number: int) -> bool:
        """Tell whether a version exists, if it is in the topic."""
        return self.kept is None or number in self.kept or number > self.last

    def settled(self, known: Iterable[int]) -> Pointer:
        """Return the same with ``known``, the versions in the topic, taken down by number."""
        kept = (self.kept or frozenset()) | {number for number in known if self.holds(number)}
        return replace(self, kept=kept, last=max([self.last, *kept]))

    def moved(self, number: int) -> Pointer:
        """Return the pointer to another version, which remembers this one."""
        back = (self.serving, *self.previous)
        previous = tuple(old for old in back if old is not None and old != number)[:_MAX_PREVIOUS]
        return replace(self, serving=number, previous=previous, by="", reason="") if number != self.serving else self

    def without(self, number: int) -> Pointer:
        """Return the same without a version, whose number stays taken."""
        previous = tuple(old for old in self.previous if old != number)
        return replace(self, previous=previous, kept=(self.kept or frozenset()) - {number})


def state_of(
    snapshots: Mapping[tuple[str, str], Snapshot], report: Callable[[str], None] = _log.warning
) -> dict[str, ModelState]:
    """Return the models that the newest snapshots of a topic make up, sorted by name.

    Parameters
    ----------
    snapshots : mapping of (model, key) to Snapshot
        As ``SnapshotTopic.latest`` gives them.
    report : callable
        Takes one sentence about each snapshot that is no version and no pointer, and each pointer to nothing.

    Examples
    --------
    >>> pointer = Snapshot("delay", "", "serving", '{"serving": 3}', 1, 0, b"")
    >>> state_of({("delay", ""): pointer}, report=print)["delay"].serving is None
    Model 'delay': version 3 should serve, and is not there.
    True
    """
    found: dict[str, dict[int, ModelVersion]] = {}
    pointers: dict[str, Pointer] = {}
    for (name, key), snapshot in snapshots.items():
        try:
            if key:
                found.setdefault(name, {})[snapshot.version] = version_of(name, key, snapshot)
            else:
                pointers[name] = pointer_of(name, snapshot)
        except (ValueError, RecursionError) as error:
            report(f"Model '{name}', key '{key}' is passed over: {error}.")
    return fold(found, pointers, report)


def fold(
    versions: Mapping[str, Mapping[int, ModelVersion]],
    pointers: Mapping[str, Pointer],
    report: Callable[[str], None] = _log.warning,
) -> dict[str, ModelState]:
    """Return the models that versions and pointers make up, sorted by name; tells of each pointer to nothing."""
    states = {}
    for name in sorted(versions.keys() | pointers.keys()):
        pointer = pointers.get(name, Pointer())
        there = {number: one for number, one in sorted(versions.get(name, {}).items()) if pointer.holds(number)}
        if pointer.serving is not None and pointer.serving not in there:
            report(f"Model '{name}': version {pointer.serving} should serve, and is not there.")
        serving = pointer.serving if pointer.serving in there else None
        previous = tuple(n for n in pointer.previous if n in there)
        states[name] = ModelState(name, serving, previous, there, pointer.by, pointer.reason)
    return states


def check_name(name: str) -> None:
    """Raise ConfigError if ``name`` cannot be the name of a model."""
    if not _NAME.fullmatch(name) or name.endswith(".onnx"):  # that would be a path, for the SQL functions
        what = "is no name for a model."
        raise ConfigError(
            [
                Problem(
                    f"model '{name[:130]}'",
                    what,
                    "Take 1 to 128 letters, digits, '_', '-' or '.', not ending in .onnx.",
                )
            ]
        )


def version_of(name: str, key: str, snapshot: Snapshot) -> ModelVersion:
    """Return the version that a snapshot carries; raises ValueError with the reason why it carries none."""
    about = _about(name, snapshot)
    sha256, size, uri = about.get("sha256"), about.get("size"), about.get("uri")
    if not _NUMBER.fullmatch(key) or key != str(snapshot.version) or snapshot.kind == SERVING:
        raise ValueError(f"a version has its number as key, and this is number {snapshot.version}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or type(size) is not int or size < 1:
        raise ValueError("its spec does not have the SHA-256 and the size of a file")
    if snapshot.blob and (sha256, size) != (snapshot.sha256, snapshot.size):
        raise ValueError("its file is not the one that its spec tells of")
    if not snapshot.blob and not (isinstance(uri, str) and uri):
        raise ValueError("it has neither a file nor a URI of one")
    if problems := gate_problems(gate := {option: about[option] for option in _GATE if option in about}):
        raise ValueError(str(problems[0]).rstrip("."))
    if not isinstance(golden := about.get("golden", {}), dict):
        raise ValueError("its golden rows are no object")
    note, file = str(about.get("note", "")), str(about.get("file", ""))
    uri = None if snapshot.blob else uri
    published_ms = snapshot.event_time_ms
    return ModelVersion(
        name, snapshot.version, snapshot.kind, file, sha256, size, uri, published_ms, note, gate,
        dict(snapshot.metrics), golden, snapshot.blob,
    )  # fmt: skip


def pointer_of(name: str, snapshot: Snapshot) -> Pointer:
    """Return what a pointer says; raises ValueError if it is none."""
    about = _about(name, snapshot)
    serving, previous, last, kept = (about.get(part) for part in (SERVING, "previous", "last", "kept"))
    previous = [] if previous is None else previous
    lists = [part for part in (previous, kept) if part is not None]
    if snapshot.kind != SERVING or not all(isinstance(part, list) for part in lists):
        raise ValueError(f"a pointer is of kind '{SERVING}' and lists versions")
    numbers = [*(part for part in (serving, last) if part is not None), *(number for part in lists for number in part)]
    if not all(type(number) is int and 0 < number < 2**63 for number in numbers):
        raise ValueError("a version in it is not a whole number above 0")
    highest = max(numbers, default=0)
    held = None if kept is None else frozenset(kept)
    by, reason, followed = str(about.get("by", "")), str(about.get("reason", "")), about.get("followed", [-1, ""])
    if not isinstance(followed, list) or [type(part) for part in followed] != [int, str]:
        raise ValueError("the decision that it followed is no time with a name")
    return Pointer(serving, tuple(previous), highest, held, snapshot.version, by, reason, (followed[0], followed[1]))


def _about(name: str, snapshot: Snapshot) -> dict[str, Any]:
    about = json.loads(snapshot.spec)
    if not isinstance(about, dict) or not _NAME.fullmatch(name):
        raise ValueError("its name or its spec is not that of a published model")
    return about


def gate_problems(gate: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with what a version has to reach."""
    problems = []
    for option, value in gate.items():
        if option not in _GATE:
            problems.append(Problem(f"gate '{option}'", "unknown option.", f"There are {', '.join(_GATE)}."))
        elif not _GATE[option][0](value):
            problems.append(Problem(f"gate '{option}'", f"cannot be {value!r}.", f"It is {_GATE[option][1]}."))
    return problems


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def numbers_of(name: str, snapshots: Iterable[tuple[str, str]]) -> list[int]:
    """Return the numbers of a model's versions in the topic, whether they can be read or not, retired or not."""
    return [int(key) for model, key in snapshots if model == name and _NUMBER.fullmatch(key)]
