"""The options of the neural engine, read and checked in one place."""

from __future__ import annotations

from typing import NamedTuple

from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.choices import one_of
from thalweg.udfs.engines.neural_losses import Loss, read_loss
from thalweg.udfs.engines.neural_optimisers import OPTIMISERS, Optimiser, read_schedule
from thalweg.udfs.engines.neural_weights import Training

__all__ = ["FOR_FILES", "FOR_TEXTS", "PARAMS", "NeuralOptions", "read_options"]

_RATES = {"sgd": "0.01", "momentum": "0.01", "adam": "0.001", "adagrad": "0.01", "ftrl": "0.1"}
PARAMS: dict[str, str] = {
    "batch-size": "1",
    "classes": "",
    "clip-norm": "0",
    "l2": "0",
    "learning-rate": "",
    "loss": "",
    "max-classes": "16",
    "min-samples": "",
    "momentum": "0.9",
    "on-null": "refuse",
    "optimiser": "sgd",
    "output": "",
    "positive": "",
    "schedule": "constant",
    "seed": "0",
    "sha256": "",
    "trainable": "all",
}
"""Option and default; an empty one follows the model."""
FOR_FILES = ("on-null", "output", "positive", "sha256")
FOR_TEXTS = ("classes", "max-classes", "seed")
_MOST = {"batch-size": 4096, "max-classes": 4096}


class NeuralOptions(NamedTuple):
    """All options, read.

    Attributes
    ----------
    training : Training
        Optimiser, schedule, clipping, L2.
    loss : Loss
        What is to fall.
    trainable : str
        ``all``, ``last-layer``, ``embeddings`` or a pattern.
    batch : int
        Rows of a step.
    min_samples : int or None
        Rows to be learned before the first answer; None: what fits the model.
    seed, max_classes : int
        Of a network from text.
    classes : tuple of str
        Of a network from text, those known from the start.
    """

    training: Training
    loss: Loss
    trainable: str
    batch: int
    min_samples: int | None
    seed: int
    max_classes: int
    classes: tuple[str, ...]


def read_options(spec: EngineSpec, from_file: bool) -> NeuralOptions:
    """Return the options of a spec; raises ConfigError listing all that is wrong with them."""
    problems = spec.problems("neural", tuple(PARAMS))
    given = dict(spec.params)
    for name in FOR_TEXTS if from_file else FOR_FILES:
        if name in given:
            whose = "network built from text" if from_file else "network from a file"
            problems.append(Problem(f"option '{name}'", f"is for a {whose}.", "Remove it."))
    for name, choices in (("on-null", ("refuse", "nan")), ("optimiser", tuple(OPTIMISERS))):
        try:
            one_of(*choices)(spec.param(name, PARAMS[name]))
        except ValueError as error:
            problems.append(Problem(f"option '{name}'", str(error), "Choose one of them."))
    optimiser = spec.param("optimiser", PARAMS["optimiser"])
    rate = _number(spec, "learning-rate", problems, _RATES.get(optimiser, "0.01"))
    momentum, clip, l2 = (_number(spec, name, problems) for name in ("momentum", "clip-norm", "l2"))
    if not rate:
        problems.append(Problem("option 'learning-rate'", "is 0: nothing would be learned.", "Give a number above 0."))
    if momentum >= 1:
        problems.append(Problem("option 'momentum'", f"{momentum} is not below 1.", "Give a number such as 0.9."))
    schedule = read_schedule(text := spec.param("schedule", PARAMS["schedule"]), problems)
    if optimiser == "ftrl" and text != "constant":
        problems.append(Problem("option 'schedule'", "ftrl lowers its rate by itself.", "Use constant with it."))
    batch, seed, most = (_whole(spec, name, problems) for name in ("batch-size", "seed", "max-classes"))
    least = _whole(spec, "min-samples", problems) if given.get("min-samples") else None
    classes = tuple(name.strip() for name in spec.param("classes", "").split(",") if name.strip())
    if len(set(classes)) != len(classes):
        problems.append(Problem("option 'classes'", "names one twice.", "Name each class once."))
    try:
        loss = read_loss(spec.param("loss", ""), spec.task == "classification")
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    own = l2 if optimiser == "ftrl" else 0.0
    training = Training(Optimiser(optimiser, rate, momentum, own), schedule, clip, l2 - own)
    trainable = spec.param("trainable", PARAMS["trainable"])
    return NeuralOptions(training, loss, trainable, batch, least, seed, max(most, len(classes)), classes)


def _number(spec: EngineSpec, name: str, problems: list[Problem], default: str | None = None) -> float:
    given = spec.param(name, "") or (PARAMS[name] if default is None else default)
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        problems.append(Problem(f"option '{name}'", f"'{given}' is not a number from 0 on.", "Give one such as 0.01."))
    return number


def _whole(spec: EngineSpec, name: str, problems: list[Problem]) -> int:
    given = spec.param(name, PARAMS[name])
    least, most = int(name in _MOST), _MOST.get(name, 10**9 - 1)
    if not (given.isascii() and given.isdigit() and len(given) < 10 and least <= int(given) <= most):
        remedy = f"Give one from {least} to {most}."
        problems.append(Problem(f"option '{name}'", f"'{given}' is not a whole number it can have.", remedy))
        return 1
    return int(given)
