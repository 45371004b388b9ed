"""Texts that a model has never seen are counted, where its encoders can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder
from thalweg.udfs.engines.onnx_call import LoadedModel
from thalweg.udfs.engines.onnx_reference import parse_reference

TABLE = np.array([[str(at % 3), "abcd"[at % 4]] for at in range(40)], dtype=object)
EVENT = np.arange(40) % 2
DIGITS, LETTERS = frozenset("012"), frozenset("abcd")


def call_of(data: Any, features: int = 2, options: str = "") -> LoadedModel:
    return LoadedModel(parse_reference(f"/m.onnx?{options}"), data.SerializeToString(), None, (False,) * features)


def texts(*values: Any) -> Any:
    return np.array([*values, None], dtype=object)[:-1]


@pytest.mark.parametrize("opset", [3, 4], ids=["attribute", "tensor"])
@pytest.mark.parametrize("inputs", [1, 2], ids=["one input", "an input each"])
@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        TargetEncoder(),
    ],
    ids=["one-hot", "ordinal", "target"],
)
def test_what_an_encoder_does_not_know_is_counted(encoder: Any, inputs: int, opset: int) -> None:
    steps = ColumnTransformer([("all", encoder, [0, 1])])
    model = make_pipeline(steps, LogisticRegression()).fit(TABLE, EVENT)
    kinds = [("t", StringTensorType([None, 2]))] if inputs == 1 else [(n, StringTensorType([None, 1])) for n in "tu"]
    call = call_of(to_onnx(model, initial_types=kinds, target_opset={"": 19, "ai.onnx.ml": opset}))
    assert list(call._vocabulary.known.values()) == [DIGITS, LETTERS]
    batch = call.run([texts("0", "1", "7", "7", None), texts("a", "z", "b", "", "z")], 5)
    assert batch.unseen == 4  # 7, z, 7 and the empty text; the row with NULL is not scored, so nothing of it counts
    assert sorted(batch.faults) == [4]
    assert call.run([texts("0", "2"), texts("a", "d")], 2).unseen == 0


def test_the_columns_of_an_encoder_are_told_by_their_place() -> None:
    steps = ColumnTransformer(
        [(name, OneHotEncoder(handle_unknown="ignore"), [at]) for name, at in (("letters", 1), ("digits", 0))]
    )
    model = make_pipeline(steps, LogisticRegression()).fit(TABLE, EVENT)
    kinds = [("t", StringTensorType([None, 2]))]
    call = call_of(to_onnx(model, initial_types=kinds, target_opset={"": 17, "ai.onnx.ml": 3}))
    assert call._vocabulary.known == {("t", 0): DIGITS, ("t", 1): LETTERS}


def made(nodes: list[Any], width: int, weights: list[Any] | None = None) -> LoadedModel:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("t", TensorProto.STRING, ["n", width])],
        [info("y", TensorProto.FLOAT, ["n", 1])],
        weights or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    return call_of(helper.make_model(graph, opset_imports=opsets, ir_version=8), width, "task=regression")


def encoder(source: str, **keys: Any) -> Any:
    return helper.make_node("LabelEncoder", [source], ["y"], domain="ai.onnx.ml", **keys)


def test_keys_that_are_a_tensor_and_a_column_that_is_picked_from_behind() -> None:
    keys = helper.make_tensor("k", TensorProto.STRING, [2], [b"x", "é".encode()])
    values = helper.make_tensor("v", TensorProto.FLOAT, [2], [1.0, 2.0])
    default = helper.make_tensor("d", TensorProto.FLOAT, [1], [-1.0])
    last = numpy_helper.from_array(np.array([-1]), "last")
    call = made(
        [
            helper.make_node("Gather", ["t", "last"], ["c"], axis=1),
            encoder("c", keys_tensor=keys, values_tensor=values, default_tensor=default),
        ],
        2,
        [last],
    )
    assert call._vocabulary.known == {("t", 1): frozenset({"x", "é"})}
    batch = call.run([texts("new", "new"), texts("é".encode(), "è")], 2)
    assert (batch.scores().tolist(), batch.unseen) == ([2.0, -1.0], 1)


def test_what_cannot_be_traced_is_not_counted() -> None:
    mixed = [
        helper.make_node("Transpose", ["t"], ["u"], perm=[1, 0]),
        helper.make_node("Transpose", ["u"], ["v"], perm=[1, 0]),
        encoder("v", keys_strings=["x"], values_floats=[1.0], default_float=0.0),
    ]
    call = made(mixed, 1)
    assert call._vocabulary.known == {}
    assert call.run([texts("strange")], 1).unseen == 0
