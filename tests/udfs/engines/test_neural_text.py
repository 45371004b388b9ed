"""Networks as text: read, and never run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.base import Field
from thalweg.udfs.engines.neural_text import Embedding, is_mlp, parse_mlp

INPUTS = (
    Field("a", "number"),
    Field("c", "string"),
    Field("n", "integer"),
    Field("v", "vector"),
    Field("my col", "string"),
)


def test_every_part_is_read() -> None:
    parts = "32, 16, embedding(c, 8), embedding('my col', 4, 50), embedding(n, 2), vector(v, 12)"
    text = f"mlp({parts}, activation='leaky-relu')"
    found = parse_mlp(text, INPUTS)
    assert found.layers == (32, 16)
    assert found.embeddings == (Embedding("c", 8, 1000), Embedding("my col", 4, 50), Embedding("n", 2, 1000))
    assert (found.vectors, found.activation) == ({"v": 12}, "LeakyRelu")
    assert parse_mlp(" mlp() ", INPUTS[:1]).layers == ()


WRONG = {
    "mlp(8": "cannot be read",
    "mlp(8) | mlp(4)": "is not one mlp",
    "mlp(8.5)": "'8.5' is not a hidden layer",
    "mlp(True)": "'True' is not a hidden layer",
    "mlp(99999)": "Give a whole number from 1 to 4096",
    "mlp(*x)": "is not a hidden layer",
    "mlp(__import__('os').system('x'))": "is no part of a network",
    "mlp(embedding(a, 8))": "embedding of 'a': that input is a number",
    "mlp(embedding(c))": "cannot be read",
    "mlp(embedding(c, 8, rows=3))": "cannot be read",
    "mlp(embedding(c, 0))": "'0' is not the width of 'c'",
    "mlp(embedding(c, 8, 99999999))": "is not the rows of 'c'",
    "mlp(embedding(c, 8), embedding(c, 4))": "names 'c' twice",
    "mlp(vector(c, 8))": "vector of 'c': that input is a string",
    "mlp(8, activation='swish')": "'swish' is no activation",
    "mlp(8, dropout=0.5)": "has no setting 'dropout'",
    "mlp(8, **x)": "has no setting 'None'",
    f"mlp({','.join(['4'] * 21)})": "has 21 hidden layers",
    f"mlp({'9' * 20000})": "is too long",
    f"mlp({'(' * 500}": "cannot be read",
}


@pytest.mark.parametrize("text", list(WRONG), ids=[text[:40] for text in WRONG])
def test_what_is_wrong_is_told(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_mlp(text, INPUTS)
    assert WRONG[text] in str(caught.value)
    assert all(problem.where and problem.what and problem.remedy for problem in caught.value.problems)


@given(st.text(max_size=40))
def test_no_text_does_anything_but_fail(tail: str) -> None:
    text = "mlp(" + tail
    assert is_mlp(text)
    try:
        parse_mlp(text, INPUTS)
    except ConfigError:
        pass
