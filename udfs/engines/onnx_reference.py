"""How a SQL call names its model: ``'/models/fraud.onnx'``, ``'fraud'``, ``'fraud$3'``, with options after ``?``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.choices import one_of
from thalweg.udfs.engines.onnx_limits import check_size, read_bounded
from thalweg.udfs.engines.onnx_session import SessionSettings

__all__ = ["ModelReference", "parse_reference", "read_model"]

TASKS = ("classification", "regression", "anomaly", "vector")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number.") from None


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise ValueError(f"'{text}' is not a whole number above zero.")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())
    if not all(name and value for name, value in pairs):
        raise ValueError(f"'{text}' is not a list like name=value,name=value.")
    return pairs


OPTIONS: dict[str, tuple[Callable[[str], Any], Any, str]] = {
    "on-null": (
        one_of("null", "nan", "default"),
        "null",
        "a NULL feature: no answer, NaN for the model, or a default",
    ),
    "default-number": (_number, 0.0, "what stands for a NULL number with on-null=default"),
    "default-text": (str, "", "what stands for a NULL text with on-null=default"),
    "task": (one_of(*TASKS), "", "how the outputs are read, where the model does not tell"),
    "positive": (str, "", "the class that the score of a model of two classes speaks of"),
    "output": (_names, (), "which of the model's outputs to use"),
    "sha256": (str.lower, "", "what the model must hash to"),
    "threads": (_count, 1, "threads of one inference"),
    "providers": (_names, ("CPUExecutionProvider",), "execution providers, the preferred one first"),
    "session-options": (_pairs, (), "ONNX Runtime's session entries, name=value"),
    "custom-ops": (
        _names,
        (),
        "libraries with further operators, which THALWEG_CUSTOM_OPS on the workers has to allow",
    ),
    "brokers": (str, "", "where a model by name is published; default: the job parameter thalweg.models.brokers"),
    "topic": (str, "", "the topic with the models; default: thalweg.models.v1"),
    "alerts": (str, "", "the topic that is told of a model that was refused; default: thalweg.alert.v1"),
    "kafka-config": (str, "", "properties file with Kafka's security settings, such as its own tools take"),
    "trusted-keys": (str, "", "where the keys lie that vouch for a model by name: `file:/path,env:NAME`"),
    "require-signature": (one_of("true", "false"), "", "`true`: a version that no trusted key signed does not serve"),
}
"""Option: how it is read, its default, what it means."""

SESSION_OPTIONS = ("threads", "providers", "session-options", "custom-ops")
"""Those that say how the session of a model runs, in the order of ``SessionSettings``."""


class ModelReference(NamedTuple):
    """A model as a SQL call names it.

    Attributes
    ----------
    text : str
        The whole reference.
    model : str
        Path, URI, or name.
    version : int or None
        Of a model by name; None: the one that is to serve.
    by_name : bool
        Whether ``model`` is a name in the topic of models.
    options : dict of str to Any
        All options, read; those not given have their defaults.
    """

    text: str
    model: str
    version: int | None
    by_name: bool
    options: dict[str, Any]

    @property
    def where(self) -> str:
        """Names the model in errors."""
        return f"model '{self.model[:80]}'"

    @property
    def settings(self) -> SessionSettings:
        """How its session is to run."""
        return SessionSettings(*(self.options[name] for name in SESSION_OPTIONS))


def parse_reference(text: str) -> ModelReference:
    """Return the parts of a reference ``model[$version][?option=value&...]``; ``%`` escapes as in URIs.

    Parameters
    ----------
    text : str
        What has a slash, a scheme or ends in ``.onnx`` is a path or URI, anything else a name.

    Raises
    ------
    ConfigError
        Lists everything that is wrong with it.

    Examples
    --------
    >>> found = parse_reference("fraud$3?on-null=nan&threads=2")
    >>> found.model, found.version, found.by_name, found.options["on-null"], found.options["threads"]
    ('fraud', 3, True, 'nan', 2)
    >>> parse_reference("/models/fraud.onnx").by_name
    False
    """
    head, _, tail = text.strip().partition("?") if not text.startswith("data:") else (text, "", "")
    by_name = not ("/" in head or ":" in head or head.endswith(".onnx"))
    where, problems = f"model '{head[:80]}'", []
    options = {name: default for name, (_, default, _) in OPTIONS.items()}
    for part in filter(None, tail.split("&")):
        name, _, value = part.partition("=")
        if name not in OPTIONS:
            near = get_close_matches(name, OPTIONS, 1)
            remedy = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(OPTIONS)}."
            problems.append(Problem(f"{where}, option '{name}'", "unknown option.", remedy))
            continue
        read, _, meaning = OPTIONS[name]
        try:
            options[name] = read(unquote(value))
        except ValueError as error:
            problems.append(Problem(f"{where}, option '{name}'", str(error), f"It is {meaning}."))
    model, version = head, None
    if by_name and "$" in head:
        model, _, number = head.partition("$")
        if number.isdecimal() and len(number) < 20:
            version = int(number)
        else:
            problems.append(
                Problem(where, f"'{number[:80]}' is not the number of a version.", "Write name$3, or the name alone.")
            )
    if not model:
        problems.append(
            Problem("model ''", "names no model.", "Give a path, a file: URI, or the name of a published model.")
        )
    if problems:
        raise ConfigError(problems)
    return ModelReference(text, model, version, by_name, options)


def read_model(model: str) -> tuple[bytes, str | None]:
    """Return the bytes behind a path, ``file:`` URI or ``data:;base64,`` URI, and the folder that a file lies in.

    Raises
    ------
    ConfigError
        It cannot be read, there is nothing in it, or it is larger than ``onnx_limits.MODEL_BYTES`` lets it be.
    """
    where = f"model '{model[:80]}'"
    try:
        parts = urlsplit(model)
    except ValueError as error:
        raise ConfigError([Problem(where, f"is no address ({error}).", "Give a path or a file: URI.")]) from None
    data, folder, problem = b"", None, None
    if parts.scheme == "data":
        try:
            data = base64.b64decode(unquote_to_bytes(model.partition("base64,")[2]), validate=True)
        except (binascii.Error, ValueError):
            problem = Problem(where, "is not base64.", "Write it as data:;base64,... .")
        else:
            problem = Problem(where, "has no bytes.", "Write it as data:;base64,... .")
            check_size(len(data), where)
    elif parts.scheme in ("", "file"):
        path = Path(url2pathname(parts.path) if parts.scheme else model)
        try:
            data, folder = read_bounded(path, where), str(path.parent)
        except OSError as error:
            remedy = "Check the path; on a cluster every TaskManager must have the file."
            problem = Problem(where, f"cannot be read ({error.strerror}).", remedy)
        else:
            problem = Problem(where, "is an empty file.", "Export the model again.")
    else:
        problem = Problem(where, f"'{parts.scheme}:' cannot be read.", "Give a path or a file: URI.")
    if not data:
        raise ConfigError([problem])
    return data, folder
