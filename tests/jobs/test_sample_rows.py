"""Rows that models are measured with: of the declared kinds, the same each time, or a customer's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.jobs.sample_rows import START_MS, STEP_MS, sample_rows
from thalweg.udfs.engines import engine_class
from thalweg.udfs.logic.declaration import Declaration, declare

SCALED = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
COLUMNS = [("amount", "DOUBLE"), ("items", "INT"), ("card", "STRING"), ("user_id", "STRING"), ("paid_ms", "BIGINT")]


def declared(
    inputs: list[tuple[str, str]],
    model: str = SCALED,
    output: tuple[str, str] = ("y", "BOOLEAN"),
    provider: str = "river",
    **more: str,
) -> Declaration:
    """A model as the parser gives it; nothing is built."""
    engine: Any = engine_class(provider)
    options = {"provider": provider, "model": model, "input-table": "t", "event-id": "id", "key": "k", **more}
    return declare("m", inputs, [output], options, tuple(engine.OPTIONS), hasattr(engine, "learn"))


def test_made_up_rows_are_of_the_declared_kinds_and_the_same_each_time() -> None:
    declaration = declared([*COLUMNS, ("seen", "BOOLEAN"), ("v", "ARRAY<DOUBLE>")], label="y")
    rows = sample_rows(declaration, 300)
    assert rows == sample_rows(declaration, 300)
    for at, (values, label) in enumerate(rows):
        assert [type(value) for value in values] == [float, int, str, str, int, bool, list]
        assert values[4] == START_MS + at * STEP_MS
        assert type(label) is bool
    amounts, items, cards, users, *_ = zip(*(row.values for row in rows), strict=True)
    assert len(set(amounts)) == len(set(users)) == 300
    assert 40 < len(set(cards)) <= 50
    assert 60 < len(set(items)) <= 100
    assert {row.label for row in rows} == {True, False}


@pytest.mark.parametrize(
    ("output", "kinds"), [(("y", "STRING"), {str}), (("y", "DOUBLE"), {float}), (("y", "INT"), {int})]
)
def test_labels_are_what_the_output_is(output: tuple[str, str], kinds: set[type]) -> None:
    rows = sample_rows(declared(COLUMNS, output=output, label="y"), 50)
    assert {type(row.label) for row in rows} == kinds
    assert len({row.label for row in rows}) > 2


def test_a_model_without_labels_gets_none_and_a_bandit_gets_its_arms() -> None:
    unlabelled = declared(COLUMNS, "anomaly.HalfSpaceTrees()", ("score", "DOUBLE"), task="anomaly")
    assert {row.label for row in sample_rows(unlabelled, 20)} == {None}
    bandit = declared(
        [("arm", "STRING")], "bandit.UCB(delta=1)", ("r", "DOUBLE"), task="bandit", arms="a, b", label="r"
    )
    assert {row.values[0] for row in sample_rows(bandit, 50)} == {"a", "b"}


def test_real_rows_are_taken_by_name_and_again_from_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"amount": 3, "items": 2.0, "late": true, "more": 1}\n\n{"amount": 1.5, "card": "x"}\n')
    declaration = declared(COLUMNS[:3], label="late")
    first, second, third = sample_rows(declaration, 3, file)
    assert (first.values, first.label) == ((3.0, 2, None), True)
    assert second.values == (1.5, None, "x")
    assert type(second.label) is bool  # made up
    assert third == first


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", "not a JSON object"),
        ('{"amount": "12"}', "'amount' should be a number"),
        ('{"amount": 1e400}', "not finite"),
        ('{"items": 0.5}', "'items' should be an integer"),
        ('{"late": "yes"}', "'late' should be a boolean"),
        ("{", "events.jsonl:2"),
    ],
)
def test_a_row_that_does_not_fit_is_named_with_its_line(line: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(f'{{"amount": 1}}\n{line}\n{line}\n')
    with pytest.raises(ConfigError) as caught:
        sample_rows(declared(COLUMNS, label="late"), 10, file)
    assert says in str(caught.value)
    assert len(caught.value.problems) == 2  # all at once


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_rows_is_said_to_be_one(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="--example"):
        sample_rows(declared(COLUMNS, label="late"), 10, file)
