"""Models by name: the version that is to serve, exchanged behind the calls once it has passed the gate."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.connector.alerts import send_alert
from thalweg.connector.errors import ConfigError, Problem, ThalwegError
from thalweg.connector.kafka_security import read_client_config
from thalweg.connector.model_feed import ModelFeed
from thalweg.connector.modelstate import ModelState, ModelVersion
from thalweg.connector.signing import Trust, open_trust
from thalweg.udfs.engines.golden_rows import check_golden
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_reference import ModelReference, read_model
from thalweg.udfs.logic.model_gate import Probe, objections

__all__ = ["Place", "ServedModel", "place_of"]

_log = logging.getLogger(__name__)
_START_S = 60.0
_GRACE_S = 3.0
_POLL_S = 0.1
_DEFAULTS = {"brokers": "", "topic": "thalweg.models.v1", "alerts": "thalweg.alert.v1", "kafka-config": ""}
_DEFAULTS |= {"trusted-keys": "", "require-signature": ""}
_feeds: dict[tuple[int, Place], ModelFeed] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Place:
    """Where models are published, and where it is told that one was refused."""

    brokers: str
    topic: str
    alerts: str
    kafka_config: str
    trusted_keys: str = ""
    require_signature: str = ""

    def trust(self) -> Trust | None:
        """Return whose signatures are believed here; None where none is looked at."""
        sources = [part for part in self.trusted_keys.split(",") if part.strip()]
        return open_trust(sources, self.require_signature == "true", "option 'trusted-keys' of published models")

    def security(self) -> dict[str, str]:
        """Return the security settings in a properties file, as Kafka's own tools take it.

        That is ``kafka_config``, or else the one that the environment variable ``THALWEG_CLIENT_CONFIG`` names.
        """
        if self.kafka_config:
            return read_client_config(self.kafka_config, "option 'kafka-config'")
        path = os.environ.get("THALWEG_CLIENT_CONFIG", "")
        return read_client_config(path, "environment variable THALWEG_CLIENT_CONFIG") if path else {}


def place_of(reference: ModelReference, parameter: Callable[[str, str], str]) -> Place:
    """Return where a model by name is published.

    Parameters
    ----------
    reference : ModelReference
        Its options come first.
    parameter : callable
        Name and default to the job parameter ``thalweg.models.<name>``; then come environment variables
        ``THALWEG_MODELS_<NAME>``.

    Raises
    ------
    ConfigError
        Nobody said where the brokers are.
    """
    found = {}
    for name, default in _DEFAULTS.items():
        variable = f"THALWEG_MODELS_{name.upper().replace('-', '_')}"
        told = [reference.options.get(name), parameter(f"thalweg.models.{name}", ""), os.environ.get(variable, default)]
        found[name.replace("-", "_")] = next(filter(None, told), "")
        if name == "require-signature" and "true" in told:  # who runs the workers is not overruled by a statement
            found["require_signature"] = "true"
    if not found["brokers"]:
        what = "is the name of a published model, and nobody says where."
        remedy = (
            f"Write '{reference.text}?brokers=host:9092', set the job parameter thalweg.models.brokers or the variable "
            "THALWEG_MODELS_BROKERS on the workers; the path of a file has a slash or ends in .onnx."
        )
        raise ConfigError([Problem(reference.where, what, remedy)])
    return Place(**found)


class ServedModel:
    """One model by name, as one call of one function uses it.

    Parameters
    ----------
    reference : ModelReference
        Name, perhaps with the version to stay at.
    vectors : sequence of bool
        Per feature of the call, whether it is an array.
    place : Place
        Where it is published.
    counted : callable
        Called once for each candidate that is refused.

    Raises
    ------
    ConfigError
        There is no such model or version, or none of its versions can serve.
    SetupError
        The topic cannot be read.

    Notes
    -----
    A call takes ``current`` once and answers its whole batch with it. Another version is loaded and tried in the feed's
    thread; the calls see it when it stands in ``current``, and go on with the old one until then.
    """

    def __init__(
        self, reference: ModelReference, vectors: Sequence[bool], place: Place, counted: Callable[[], None]
    ) -> None:
        self._reference, self._vectors, self._place, self._counted = reference, tuple(vectors), place, counted
        self._probe, self._lock, self._refused = Probe(), threading.Lock(), 0
        self._feed = _feed(place)
        if reference.version is None:
            self._feed.watch(reference.model, self._changed, self._doubted)
        try:
            self._wait()
            # From here on the feed's thread waits with a change until there is something to change.
            with self._lock:
                self.current = self._first(self._feed.models(_START_S))
        except ThalwegError:
            self.close()
            raise

    def run(self, columns: Sequence[Any], count: int) -> tuple[Any, LoadedModel]:
        """Return the answers for a batch, and the version that gave them."""
        model = self.current
        self._probe.see(columns, count)
        return model.run(columns, count), model

    def close(self) -> None:
        """Stop following the topic."""
        self._feed.unwatch(self._reference.model, self._changed)

    def _wait(self) -> None:
        """Return when the model is there: a feed may be a moment behind who has just published it."""
        self._feed.models(_START_S)
        end = time.monotonic() + _GRACE_S
        while time.monotonic() < end:
            state = self._feed.models(_START_S).get(self._reference.model)
            pinned = self._reference.version
            if state is not None and (pinned in state.versions if pinned else state.serving is not None):
                return
            time.sleep(_POLL_S)

    def _first(self, states: dict[str, ModelState]) -> LoadedModel:
        name = self._reference.model
        if name not in states:
            remedy = f"There are: {', '.join(states) or 'none'}. 'thalweg models publish' makes one."
            if self._place.require_signature == "true":
                remedy += " Only those count that a trusted key has signed; the log of the worker names the others."
            raise ConfigError([Problem(self._reference.where, f"is not in topic '{self._place.topic}'.", remedy)])
        state = states[name]
        pinned = self._reference.version
        numbers = [pinned] if pinned else [number for number in (state.serving, *state.previous) if number]
        problems: list[Problem] = []
        for number in numbers:
            if number not in state.versions:
                listed = ", ".join(map(str, state.versions)) or "none"
                problems.append(Problem(self._reference.where, f"has no version {number}.", f"There are: {listed}."))
                continue
            try:
                model, version = self._load(state.versions[number])
                against = [] if pinned else objections(model, None, self._probe, version.gate, version.metrics)
                if not against:
                    return model
                problems += [Problem(f"{self._reference.where}, version {number}", f"{why}.", "") for why in against]
            except ConfigError as error:
                problems += error.problems
            if len(numbers) > 1:
                self._refuse(number, str(problems[-1]))
        raise ConfigError(problems or [Problem(self._reference.where, "has no version that serves.", "Promote one.")])

    def _load(self, version: ModelVersion) -> tuple[LoadedModel, ModelVersion]:
        version = self._feed.fetch(version.name, version.version)
        data, folder = (version.blob, None) if version.uri is None else read_model(version.uri)
        options = {**self._reference.options, "sha256": version.sha256}
        reference = self._reference._replace(options=options)
        model = LoadedModel(reference, data, folder, self._vectors, str(version.version))
        check_golden(version.golden, data, folder, reference)
        return model, version

    def _changed(self, state: ModelState) -> None:
        with self._lock:
            serving = getattr(self, "current", None)
            if serving is None or state.serving is None or serving.version == str(state.serving):
                return
            try:
                candidate, version = self._load(state.versions[state.serving])
                against = objections(candidate, serving, self._probe, version.gate, version.metrics)
            except ThalwegError as error:
                against = [str(error)]
            except Exception as error:  # whatever a model does must not end the thread that follows the topic
                against = [f"{type(error).__name__}: {error}"[:500]]
            if against:
                self._refuse(state.serving, "; ".join(against))
            else:
                self.current = candidate

    def _doubted(self, number: int, reason: str) -> None:
        with self._lock:
            self._refuse(number, reason)

    def _refuse(self, number: int, reason: str) -> None:
        self._refused += 1
        self._counted()
        name = self._reference.model
        what = f"Version {number} of model '{name}' does not serve" if number else f"Model '{name}' stays as it is"
        text = f"{what}: {reason}"
        _log.warning("%s", text)
        try:
            send_alert(
                self._place.brokers,
                self._place.alerts,
                self._place.security(),
                model=name,
                alert="model-refused",
                value=float(number),
                count=self._refused,
                event_time_ms=int(time.time() * 1000),
                reason=text,
            )
        except ThalwegError as error:
            _log.warning("The alert could not be sent: %s", error)


def _feed(place: Place) -> ModelFeed:
    """Return the one feed of this process for a place; a fork has none of its parent's threads and makes its own."""
    with _lock:
        found = _feeds.get((os.getpid(), place))
        if found is None or found.stopped:
            found = _feeds[os.getpid(), place] = ModelFeed(
                place.brokers, place.topic, _log.warning, place.trust(), **place.security()
            )
        return found
