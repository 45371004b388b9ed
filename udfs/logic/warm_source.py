"""Reads the option ``'warm-start'``, where a model that was published or trained before lies, and checks ``revive``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import unquote

__all__ = ["WarmSource", "check_revive", "parse_warm_source"]

_OPTIONS = ("brokers", "model", "kafka-config")
_FILES = (".avro", ".onnx")


class WarmSource(NamedTuple):
    """Where to start from: a file, or the topic of a job's snapshots.

    Attributes
    ----------
    place : str
        Path or ``file:`` URI of a file, or the name of a topic.
    is_file : bool
        Which of the two.
    brokers : str
        ``host:port``, comma separated; of a topic.
    model : str
        Whose snapshots of the topic; empty: those of the model of the same name.
    kafka_config : str
        Properties file with Kafka's security settings, such as its own tools take.
    security : tuple of (str, str)
        Such settings themselves, from a table on the same brokers; in no text.
    """

    place: str
    is_file: bool
    brokers: str = ""
    model: str = ""
    kafka_config: str = ""
    security: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields if name != "security")
        return f"WarmSource({told})"


def parse_warm_source(text: str) -> WarmSource:
    """Return the parts of ``path``, ``file:`` URI, or ``topic?brokers=host:9092&model=name&kafka-config=path``.

    Parameters
    ----------
    text : str
        What has a slash or a colon before the ``?``, or ends in ``.avro`` or ``.onnx``, is a file; anything else a
        topic. ``%`` escapes in values as in URIs.

    Raises
    ------
    ValueError
        One sentence about what is wrong, with the remedy.

    Examples
    --------
    >>> parse_warm_source("delay.snapshots?brokers=kafka:9092&model=delay")
    WarmSource(place='delay.snapshots', is_file=False, brokers='kafka:9092', model='delay', kafka_config='')
    >>> parse_warm_source("file:///models/delay.avro").is_file
    True
    """
    head, _, tail = text.strip().partition("?")
    is_file = "/" in head or ":" in head or head.endswith(_FILES)
    found: dict[str, Any] = {}
    for part in filter(None, tail.split("&")):
        name, _, value = part.partition("=")
        if is_file:
            raise ValueError(f"the file '{head}' takes no '{name}': that is for a topic, whose name has no slash.")
        if name not in _OPTIONS:
            near = get_close_matches(name, _OPTIONS, 1)
            raise ValueError(
                f"'{name}' is unknown. " + (f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(_OPTIONS)}.")
            )
        found[name.replace("-", "_")] = unquote(value).strip()
    if not head:
        raise ValueError("names neither a file nor a topic.")
    if not is_file and not found.get("brokers"):
        raise ValueError(
            f"does not say where topic '{head}' is. Write '{head}?brokers=host:9092'; a file has a slash or ends in"
            f" {' or '.join(_FILES)}."
        )
    return WarmSource(head, is_file, **found)


def check_revive(name: str, values: Mapping[str, Any], wrong: Callable[[str, str, str], None]) -> None:
    """Hold ``revive`` against the options that let a key be forgotten, and ``replay`` against ``warm-start``.

    Parameters
    ----------
    name : str
        Name of the model.
    values : mapping of str to Any
        The options, read.
    wrong : callable
        Takes an option, what is wrong with it, and the remedy.
    """
    if values["replay"] == "score" and values["warm-start"] is None:
        what = "is given without 'warm-start': there is no model that has learned anything before."
        wrong("replay", what, "Name where the model was published in 'warm-start', or remove it.")
    if values["revive"] == "never":
        return
    source: WarmSource | None = values["warm-start"]
    topic = "Name the topic of this job's snapshots: 'warm-start' = '<topic>?brokers=host:9092'."
    if source is None:
        wrong("revive", "is given without 'warm-start'.", topic)
    elif source.is_file:
        wrong("revive", f"'{source.place}' is a file, which holds no later snapshots.", topic)
    elif source.model not in ("", name):
        wrong("revive", f"the snapshots of '{source.model}' are not this model's.", "Remove '&model=' in 'warm-start'.")
    ttl, snapshots = values["state-ttl"], values["snapshot-every"]
    every = 0 if snapshots.events == 1 else snapshots.time_ms  # after each example: there is nothing to be forgotten
    if ttl is None:
        wrong("revive", "is given without 'state-ttl': no key is ever forgotten.", "Add 'state-ttl', or remove it.")
    elif every is None or every >= ttl:
        what = "a key can be forgotten before its last snapshot is in Kafka."
        wrong("revive", what, "Let 'snapshot-every' be a time shorter than 'state-ttl', or '1 events'.")
