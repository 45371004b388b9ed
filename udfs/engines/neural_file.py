"""From a customer's ONNX file to a network that can be trained, and the codec that reads its inputs and outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import helper
from thalweg.connector.errors import ConfigError, Problem, ThalwegError
from thalweg.udfs.engines.base import EngineSpec
from thalweg.udfs.engines.neural_codec import Codec, FileCodec
from thalweg.udfs.engines.neural_losses import Head, find_head
from thalweg.udfs.engines.neural_network import Network, normalised, read_network
from thalweg.udfs.engines.onnx_inputs import plan_inputs
from thalweg.udfs.engines.onnx_outputs import plan_outputs, positive_class
from thalweg.udfs.engines.onnx_reference import read_model
from thalweg.udfs.engines.onnx_session import OnnxSession

__all__ = ["file_model"]

_NUMBERS = ("tensor(float)", "tensor(double)", "seq(map(")


def file_model(
    spec: EngineSpec, classifies: bool
) -> tuple[Network, Head, Callable[[], Codec], Callable[[int], dict[str, Any]], int | None, str]:
    """Return network, head, codec, made-up rows, rows at a time and SHA-256 of the file that a spec names.

    Raises
    ------
    ConfigError
        Everything that is wrong with the file, or with file and spec together.
    """
    where = f"model '{spec.model[:80]}'"
    try:
        return _file_model(spec, classifies, where)
    except ThalwegError:
        raise
    except Exception as error:  # what ONNX Runtime loads may still break its Python library in any way
        what = f"is not a network that can be read ({type(error).__name__}: {str(error)[:200]})."
        raise ConfigError([Problem(where, what, "Check the file, or export it again.")]) from error


def _file_model(
    spec: EngineSpec, classifies: bool, where: str
) -> tuple[Network, Head, Callable[[], Codec], Callable[[int], dict[str, Any]], int | None, str]:
    data, _ = read_model(spec.model)
    digest = hashlib.sha256(data).hexdigest()
    problems = []
    if spec.param("sha256", digest).lower() != digest:
        what = f"the model's bytes hash to {digest}."
        problems.append(Problem("option 'sha256'", what, "Deploy the right file, or correct the option."))
    model = normalised(data, where)
    session = OnnxSession(model.SerializeToString(), where)
    if not session.outputs:
        raise ConfigError([Problem(where, "has no output.", "Check the file, or export it again.")])
    inputs = plan_inputs(session.inputs, spec.inputs, spec.param("on-null", "refuse") == "nan", problems)
    if inputs is None:
        raise ConfigError(problems)
    network = read_network(model, inputs.made_up, session.batch, where)
    head = find_head(network, _answer(session, spec), classifies, where)
    if classifies and head.link in ("none", "log-softmax"):
        model = _with_probabilities(model, network, head, where)
        session = OnnxSession(model.SerializeToString(), where)
        network = read_network(model, inputs.made_up, session.batch, where)
        head = find_head(network, _answer(session, spec), classifies, where)
    outputs = plan_outputs(session.outputs, spec, session.graph, problems)
    classes: tuple[str, ...] = ()
    if classifies and outputs is not None:
        count = max(head.width, 2)
        classes = session.graph.classes(outputs.names)
        classes = classes if len(classes) == count else tuple(map(str, range(count)))
        if spec.output.kind == "boolean" and count > 2:
            problems.append(
                Problem(
                    f"output '{spec.output.name}'",
                    f"is BOOLEAN, and the network has {count} classes.",
                    "Declare it STRING.",
                )
            )
    if problems or outputs is None:
        raise ConfigError(problems)
    positive = spec.param("positive", "") or (positive_class(classes) if classes else "")
    numbers = all(kind in ("number", "integer", "boolean") for _, kind in spec.inputs)
    only = session.inputs[0] if len(session.inputs) == 1 else None
    plain = only.name if only and numbers and only.type == "tensor(float)" and len(only.shape) == 2 else None
    width = head.width

    def codec() -> Codec:
        return FileCodec(spec, inputs, outputs, classes, positive, width, plain)

    return network, head, codec, inputs.made_up, session.batch, digest


def _answer(session: OnnxSession, spec: EngineSpec) -> str:
    """Return the output behind which the trunk of the network lies: numbers where there are some, else a label."""
    wanted = [name.strip() for name in spec.param("output", "").split(",") if name.strip()]
    known = [node for node in session.outputs if not wanted or node.name in wanted] or session.outputs
    best = next((node for node in known if node.type.startswith(_NUMBERS)), known[0])
    return str(best.name)


def _with_probabilities(model: Any, network: Network, head: Head, where: str) -> Any:
    """Return a model that gives probabilities where it gave the numbers before them, or their logarithms."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    given = {value.name: value for value in copy.graph.output}
    if head.value not in given:
        what = f"'{head.value}', behind its answer, is no probability: it comes from no sigmoid or softmax."
        raise ConfigError(
            [Problem(where, what, "Export the network with probabilities, or with them before the last layer's.")]
        )
    kind = "Exp" if head.link == "log-softmax" else "Sigmoid" if head.width == 1 else "Softmax"
    settings: Mapping[str, Any] = {"axis": 1} if kind == "Softmax" else {}
    name = f"{head.value}_probability"
    copy.graph.node.append(helper.make_node(kind, [head.value], [name], name=name, **settings))
    given[head.value].name = name
    return copy
