"""From a spec to all that its models share: the graphs, the sessions, the first weights, the way to read rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import numpy as np
from thalweg.connector.errors import ConfigError, Problem
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.neural_codec import Codec
from thalweg.udfs.engines.neural_dense import DensePlan, dense_plan
from thalweg.udfs.engines.neural_file import file_model
from thalweg.udfs.engines.neural_graph import SUPPORTED, LearningGraph, learning_graph, with_weights_as_inputs
from thalweg.udfs.engines.neural_losses import Head, Loss, find_head
from thalweg.udfs.engines.neural_mlp import MASK, NUMBERS, MlpCodec, mlp_model
from thalweg.udfs.engines.neural_network import PRODUCTS, Network, read_network
from thalweg.udfs.engines.neural_options import NeuralOptions, read_options
from thalweg.udfs.engines.neural_session import StepSession, WeightSession
from thalweg.udfs.engines.neural_text import MlpText, is_mlp, parse_mlp
from thalweg.udfs.engines.neural_weights import Layout

__all__ = ["NeuralPlan", "plan_of"]

_TASKS = {"classification": ("boolean", "string", "integer"), "regression": ("number", "integer")}
_KINDS = ("number", "integer", "boolean", "string", "vector")


@dataclass(frozen=True)
class NeuralPlan:
    """What all models of a spec share.

    Attributes
    ----------
    options : NeuralOptions
        How it learns.
    network : Network
        The forward pass.
    head : Head
        Where it answers.
    graph : LearningGraph
        The forward and the backward pass.
    scoring : WeightSession
        The forward pass, ready to run.
    learning : StepSession
        Both passes.
    layout : Layout
        The weights and their first values.
    codec : callable
        Makes the codec of a new model.
    batch : int or None
        How many rows the network takes at a time, where it does not take any number.
    ready_at : int
        Rows to be learned before the first answer.
    picky : bool
        Whether the network can fail on a row whose types are right, as a pick from a table does beyond its end.
    row : dict of str to ndarray
        A made-up row as it is fed.
    text : MlpText or None
        Of a network that is built from text.
    dense : DensePlan or None
        Of a chain of dense layers.
    digest : bytes
        Eight bytes that a snapshot must agree with: they stand for task, network, features, output and all that decides
        which numbers there are in the state.
    """

    options: NeuralOptions
    network: Network
    head: Head
    graph: LearningGraph
    scoring: WeightSession
    learning: StepSession
    layout: Layout
    codec: Callable[[], Codec]
    batch: int | None
    ready_at: int
    picky: bool
    row: dict[str, Any]
    text: MlpText | None
    dense: DensePlan | None
    digest: bytes


@lru_cache(maxsize=256)
def plan_of(spec: EngineSpec) -> NeuralPlan:
    """Check a spec and prepare it; a file is read once per process.

    Raises
    ------
    ConfigError
        Everything that is wrong with it.
    """
    problems = _field_problems(spec)
    from_file = not is_mlp(spec.model)
    options = None
    try:
        options = read_options(spec, from_file)
    except ConfigError as error:
        problems.extend(error.problems)
    text = None
    try:
        text = None if from_file else parse_mlp(spec.model, spec.inputs)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems or options is None:
        raise ConfigError(problems)
    where = f"model '{spec.model[:80]}'"
    codec: Callable[[], Codec]
    if text is None:
        network, head, codec, made_up, batch, content = file_model(spec, options.loss.classifies)
    else:
        network, head, codec, made_up = _from_text(spec, text, options, where)
        batch, content = None, spec.model
    loss = _fitting(options.loss, head)
    weights = _chosen(network, head, options.trainable, where)
    graph = learning_graph(network, head, loss, weights, where)
    names = (*graph.dense, *graph.tables)
    scoring = WeightSession(with_weights_as_inputs(network.model, names).SerializeToString(), where)
    learning = StepSession(graph.data, where)
    users = network.trainable(head.raw)
    layout = Layout(
        tuple((name, network.constants[name]) for name in graph.dense),
        tuple((name, network.constants[name]) for name in graph.tables),
        frozenset(name for name in graph.dense if users[name][0].kind in PRODUCTS and network.constants[name].ndim > 1
                  and users[name][1] < 2),
    )  # fmt: skip
    shaping: list[Any] = [options.training.optimiser.name, options.trainable]
    shaping += [] if text is None else [options.max_classes, list(options.classes), options.seed]
    identity = json.dumps([spec.task, content, spec.inputs, spec.output, shaping])
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:8]
    least = options.min_samples
    ready_at = (0 if text is None else 1) if least is None else least
    picky = from_file and any(each.kind == "Gather" or each.kind not in SUPPORTED for each in network.operators)
    row = {name: array[:1] for name, array in made_up(batch or 1).items() if name != MASK}
    plain = batch is None and not (from_file and layout.tables)
    dense = dense_plan(network, head, loss, layout, options.training) if plain else None
    return NeuralPlan(
        options, network, head, graph, scoring, learning, layout, codec, batch, ready_at, picky, row, text, dense,
        digest,
    )  # fmt: skip


def _from_text(
    spec: EngineSpec, text: MlpText, options: NeuralOptions, where: str
) -> tuple[Network, Head, Callable[[], Codec], Callable[[int], dict[str, Any]]]:
    classifies = spec.task == "classification"
    bound = max(options.max_classes, 2) if classifies and spec.output.kind != "boolean" else 1
    embedded = {each.column for each in text.embeddings}
    numbers = sum(text.vectors.get(name, 1) for name, _ in spec.inputs if name not in embedded)
    model = mlp_model(text, numbers, bound, classifies, options.seed)

    def made_up(rows: int) -> dict[str, Any]:
        feeds: dict[str, Any] = {NUMBERS: np.zeros((rows, numbers), np.float32)} if numbers else {}
        feeds.update((column, np.zeros(rows, np.int64)) for column in embedded)
        return {**feeds, MASK: np.zeros(bound, np.float32)} if bound > 1 else feeds

    network = read_network(model, made_up, None, where)
    head = find_head(network, model.graph.output[0].name, classifies, where)
    return network, head, lambda: MlpCodec(spec, text, options.classes, bound), made_up


def _fitting(loss: Loss, head: Head) -> Loss:
    """Return the loss as it is meant at this head; raises ConfigError where it cannot be had there."""
    if loss.name == "binary-cross-entropy" and head.width > 2:
        what = f"'{loss.name}' is of two classes, and the network has {head.width}."
        raise ConfigError([Problem("option 'loss'", what, "Use cross-entropy.")])
    if not loss.classifies and head.width != 1:
        what = f"'{loss.name}' is of one number per row, and the network gives {head.width}."
        raise ConfigError([Problem("option 'loss'", what, "Export a network with one output.")])
    return loss


def _chosen(network: Network, head: Head, pattern: str, where: str) -> list[str]:
    """Return the weights that ``trainable`` names, in the order in which they are used."""
    known = network.trainable(head.raw)
    if pattern == "all":
        chosen = list(known)
    elif pattern == "last-layer":
        last = max((at for at, (user, _) in enumerate(known.values()) if user.kind in PRODUCTS), default=0)
        first = list(known.values())[last][0] if known else None
        start = next((at for at, (user, _) in enumerate(known.values()) if user is first), 0)
        chosen = list(known)[start:]
    elif pattern == "embeddings":
        chosen = [name for name, (user, _) in known.items() if user.kind == "Gather"]
    else:
        chosen = [name for name in known if fnmatchcase(name, pattern)]
    if not chosen:
        listed = ", ".join(known) or "none that is of float32"
        what = f"'{pattern}' names no weights of the network."
        remedy = f"Its weights: {listed}. Or all, last-layer, embeddings."
        raise ConfigError([Problem(f"{where}, option 'trainable'", what, remedy)])
    return chosen


def _field_problems(spec: EngineSpec) -> list[Problem]:
    problems = []
    if spec.task not in _TASKS:
        known = ", ".join(_TASKS)
        problems.append(Problem(f"task '{spec.task}'", "a network that learns has no such task.", f"Known: {known}."))
    elif spec.output.kind not in _TASKS[spec.task]:
        remedy = f"Declare one of: {', '.join(_TASKS[spec.task])}."
        problems.append(Problem(f"output '{spec.output.name}'", f"{spec.task} gives no {spec.output.kind}.", remedy))
    if not spec.inputs:
        problems.append(Problem("inputs", "there are none.", "Declare at least one feature."))
    for name, kind in spec.inputs:
        if kind not in _KINDS:
            problems.append(Problem(f"input '{name}'", f"there is no {kind}.", f"Known: {', '.join(_KINDS)}."))
    return problems
