"""One key of a model weighed: against what the same model is in a plain Cell, and against what is known of it."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from test_sample_rows import declared
from thalweg.connector.errors import ConfigError
from thalweg.jobs.model_cost import measure
from thalweg.jobs.sample_rows import sample_rows
from thalweg.udfs.engines import build
from thalweg.udfs.logic.cell import Cell

NUMBERS = [("a", "DOUBLE"), ("b", "DOUBLE")]


def test_the_state_is_that_of_a_cell_that_has_learned_the_rows() -> None:
    declaration = declared(NUMBERS, label="y")
    rows = sample_rows(declaration, 100)
    cost = measure(declaration, rows)
    assert [size.examples for size in cost.sizes] == [10, 50, 100]
    engine = build(declaration.spec)
    for row in rows:
        engine.learn(dict(zip("ab", row.values, strict=True)), row.label)  # type: ignore[attr-defined]
    cell = Cell()
    cell.fill(declaration.spec, engine)  # type: ignore[arg-type]
    assert cost.last.model == len(engine.dump())
    assert cost.last.state == len(cell.dump())
    assert (cost.refused, cost.grows) == (0, False)


def test_a_scaled_logistic_regression_costs_what_it_is_known_to() -> None:
    declaration = declared(NUMBERS, label="y")
    cost = measure(declaration, sample_rows(declaration, 100))
    assert 150 < cost.last.state < 400
    assert 650 < cost.last.live < 2600  # 1.3 kB


def test_live_bytes_are_those_that_many_models_take() -> None:
    declaration = declared([*NUMBERS, ("c", "STRING")], "tree.HoeffdingTreeClassifier()", label="y")
    rows = sample_rows(declaration, 400)
    live = measure(declaration, rows).last.live
    spec = declaration.spec
    names = [name for name, _ in spec.inputs]

    def learned() -> object:
        engine = build(spec)
        for row in rows:
            engine.learn(dict(zip(names, row.values, strict=True)), row.label)  # type: ignore[attr-defined]
        return engine

    learned()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [learned() for _ in range(3)]
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()
    assert each / 2 < live < each * 2


def test_a_vocabulary_of_identifiers_grows_and_a_fixed_sketch_does_not() -> None:
    one_hot = "preprocessing.OneHotEncoder(drop_zeros=True) | linear_model.LogisticRegression()"
    grows = declared([("user_id", "STRING")], one_hot, label="y")
    assert measure(grows, sample_rows(grows, 200)).grows
    trees = declared(NUMBERS, "anomaly.HalfSpaceTrees()", ("score", "DOUBLE"), task="anomaly")
    cost = measure(trees, sample_rows(trees, 200))
    assert not cost.grows
    assert cost.sizes[0].live == pytest.approx(cost.last.live, rel=0.1)


def test_what_waits_for_an_update_and_old_examples_are_weighed_with_the_model() -> None:
    at_once = declared(NUMBERS, label="y")
    waits = declared(NUMBERS, label="y", cadence="1 d")
    rows = sample_rows(at_once, 100)
    assert measure(waits, rows).last.state > measure(at_once, rows).last.state + 100 * 17  # two numbers and a label


def test_rows_that_no_model_of_it_takes_are_told_with_the_remedy() -> None:
    declaration = declared(
        [("arm", "STRING")], "bandit.UCB(delta=1)", ("r", "DOUBLE"), task="bandit", arms="a, b", label="r"
    )
    rows = [row._replace(values=("c",)) for row in sample_rows(declaration, 5)]
    with pytest.raises(ConfigError) as caught:
        measure(declaration, rows)
    assert "takes none of " in str(caught.value)
    assert "'c'" in str(caught.value)
    assert "--example" in str(caught.value)


def test_some_refused_rows_are_counted() -> None:
    declaration = declared(NUMBERS, label="y")
    rows = sample_rows(declaration, 20)
    rows[3] = rows[3]._replace(values=(None, 1.0))
    rows[4] = rows[4]._replace(label=None)
    assert measure(declaration, rows).refused == 2
