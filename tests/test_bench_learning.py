"""The parts of the learning benchmark that need no Flink."""

from __future__ import annotations

from collections import Counter

import pytest
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field

from tests.bench.learning_cases import CASES, chosen, declaration, events_sql, make_model, rows_of


def test_a_model_text_of_the_learning_benchmark_is_the_model_of_its_loop() -> None:
    for case in CASES.values():
        detects = case.river == "halfspace"
        task, output = ("anomaly", "number") if detects else ("classification", "boolean")
        inputs = tuple(Field(f"f{at}", "number") for at in range(case.features))
        spec = EngineSpec("river", task, case.model, inputs, Field("y", output))
        engine, model = build(spec), make_model(case)
        for at, (_, x, y) in enumerate(rows_of(case, 300)):
            expected = model.score_one(x) if detects else model.predict_proba_one(x).get(True, 0.0)
            found = engine.step(x, None if detects else y)  # type: ignore[attr-defined]
            assert found.score == (expected if found.status == "ok" else None), at
            model.learn_one(x) if detects else model.learn_one(x, y)
        assert found.status == "ok"


def test_keys_of_the_learning_benchmark_are_as_many_and_as_uneven_as_it_says() -> None:
    even = Counter(key for key, _, _ in rows_of(CASES["k1000"], 10_000))
    assert len(even) == 1000
    assert set(even.values()) == {10}
    uneven = Counter(key for key, _, _ in rows_of(CASES["k100000_zipf"], 100_000))
    # By Zipf's law the most frequent key has log(2)/log(100,000) of the rows of this discrete form: 6 in 100.
    assert uneven.most_common(1)[0] == ("1", pytest.approx(6020, rel=0.01))
    assert len(uneven) > 10_000


def test_only_the_chosen_cases_of_the_learning_benchmark_run() -> None:
    assert list(chosen("arf10, k1")) == ["arf10", "k1"]
    assert chosen(None) is CASES
    with pytest.raises(KeyError, match="k2"):
        chosen("k1,k2")


def test_statements_of_the_learning_benchmark_carry_the_case() -> None:
    late = events_sql(CASES["late_labels"], 5)
    assert [statement.split()[3] for statement in late] == ["numbers", "events", "outcomes", "arrivals"]
    assert "f29" in events_sql(CASES["features30"], 5)[1]
    assert "'label-table' = 'arrivals'" in declaration(CASES["late_labels"])
    assert "'task' = 'anomaly'" in declaration(CASES["halfspace"])
