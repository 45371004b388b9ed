"""Traps that a file is told of before it runs (cases C52, C57, C62, state that only grows)."""

from __future__ import annotations

import pytest
from thalweg.jobs.plan_traps import traps_of
from thalweg.jobs.script import parse_script

RAW = "linear_model.LogisticRegression()"
SCALED = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
TREE = "tree.HoeffdingTreeClassifier()"


def told(inputs: str, model: str, provider: str = "river", more: str = "") -> list[str]:
    options = f"'provider' = '{provider}', 'model' = '{model}'{more}"
    sql = f"CREATE MODEL m INPUT ({inputs}) OUTPUT (y BOOLEAN) WITH ({options})"
    return [t.where for t in traps_of(parse_script(sql, "job.sql", {})) if t.where != "model m, option 'model'"]


@pytest.mark.parametrize(
    "column", ["paid_ms BIGINT", "ts BIGINT", "`user_id` INT", "event_time DOUBLE", "id DECIMAL(20, 0)"]
)
def test_a_raw_time_or_identifier_in_an_unscaled_linear_model_is_told(column: str) -> None:
    name = column.split()[0].strip("`")
    assert told(f"amount DECIMAL(10, 2), {column}", RAW) == [f"model m, feature {name}"]


def test_a_scaler_bounds_the_weights_and_what_only_grows_is_told_still() -> None:
    assert told("paid_ms BIGINT, amount DOUBLE", SCALED) == ["model m, feature paid_ms"]
    assert told("seconds_since_login DOUBLE, items INT", SCALED) == []


@pytest.mark.parametrize(
    ("inputs", "model", "provider"),
    [
        ("source STRING, destination STRING, ts BIGINT", "midas", "midas"),
        ("paid_ms BIGINT", TREE, "river"),
        ("user_id STRING, hour INT", RAW, "river"),
        ("paid_ms BIGINT", "/m.onnx", "onnx"),
    ],
)
def test_what_takes_such_numbers_is_left_alone(inputs: str, model: str, provider: str) -> None:
    assert told(inputs, model, provider) == []


def test_a_model_per_key_without_an_end_is_told() -> None:
    assert told("a DOUBLE", SCALED, more=", 'key' = 'user_id'") == ["model m, option 'state-ttl'"]
    assert told("a DOUBLE", SCALED, more=", 'key' = 'user_id', 'state-ttl' = '7 d'") == []


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("anomaly.HalfSpaceTrees()", "between 0 and 1"),
        ("anomaly.HalfSpaceTrees(limits={''a'': (0, 9)})", None),
        ("preprocessing.OneHotEncoder() | naive_bayes.BernoulliNB()", "drop_zeros=True"),
        ("forest.AMFClassifier()", "ARFClassifier"),
        (RAW, "StandardScaler"),
        (SCALED, None),
        ("linear_model.Logistic()", None),  # no model: said where it is built
    ],
)
def test_what_is_known_of_an_estimator_is_told(model: str, says: str | None) -> None:
    sql = f"CREATE MODEL m INPUT (a DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river', 'model' = '{model}')"
    found = traps_of(parse_script(sql, "job.sql", {}))
    assert [trap.where for trap in found] == ["model m, option 'model'"] * (says is not None)
    for trap in found:
        assert str(says) in trap.what + trap.remedy
        assert trap.what.endswith(".")
        assert trap.remedy.endswith(".")
