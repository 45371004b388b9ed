"""A declaration is read whole: every option, every type, all that is wrong at once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.durations import parse_duration_ms
from thalweg.udfs.logic.declaration import Declaration, declare, field_kind
from thalweg.udfs.logic.options import OPTIONS, Every

GOOD = {
    "provider": "river",
    "model": "linear_model.LogisticRegression()",
    "input-table": "events",
    "event-id": "id",
    "label-table": "labels",
    "label": "y",
}


def read(
    options: dict[str, Any], inputs: Any = (("a", "DOUBLE"),), outputs: Any = (("y", "BOOLEAN"),), learns: bool = True
) -> Declaration:
    chosen = {name: text for name, text in {**GOOD, **options}.items() if text is not None}
    return declare("m", inputs, outputs, chosen, ("min-samples",), learns)


def told(*arguments: Any, **named: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **named)
    return [str(problem) for problem in caught.value.problems]


def test_defaults() -> None:
    d = read({"min-samples": "5"})
    assert d.spec.task == "classification"
    assert d.spec.param("min-samples", "") == "5"
    assert (d.label_event_id, d.key, d.label_timeout) == ("id", (), 86_400_000)
    assert d.metrics_every == Every(None, 3_600_000)
    assert read({}, outputs=(("y", "DOUBLE"),)).spec.task == "regression"
    assert read({"snapshot-every": "500 events"}).snapshot_every == Every(500, None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label-timout": "1 h"}, "option 'label-timout'.*Did you mean 'label-timeout'"),
        ({"zzz": "1"}, "option 'zzz'.*unknown"),
        ({"label-timeout": "0 s"}, "'0 s' is not above zero"),
        ({"snapshot-every": "-1 events"}, "'-1' is not above zero"),
        ({"shards": "many"}, "'many' is not a whole number"),
        ({"order": "random"}, "'random' is not one of event-time, arrival"),
        ({"key": "a,,b"}, "empty name"),
        ({"max-model-size": "big"}, "'big' is not a whole number"),
        ({"event-id": None}, "option 'event-id'.*missing"),
        ({"label": None, "label-table": None}, "'label'.*needs the truth"),
        ({"label-table": None, "label-timeout": "1 h"}, "without 'label-table'"),
        ({"task": "regression"}, "regression predicts a number"),
        ({"metrics": "MAE"}, "'MAE' is not a metric of classification"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(options: dict[str, Any], says: str) -> None:
    problems = told(options)
    assert any(re.search(says, problem) for problem in problems), problems
    assert all(problem.startswith("model m") for problem in problems)


@pytest.mark.parametrize(
    ("task", "output", "metrics"),
    [
        ("forecasting", "DOUBLE", ("MAE", "RMSE")), ("recommendation", "INT", ("MAE", "RMSE")),
        ("bandit", "DOUBLE", ("Reward",)), ("bandit", "BOOLEAN", ("Reward",)), ("anomaly", "BOOLEAN", ("ROCAUC",)),
        ("clustering", "BIGINT", ()),
    ],
)  # fmt: skip
def test_every_task_has_its_metrics(task: str, output: str, metrics: tuple[str, ...]) -> None:
    d = read({"task": task}, outputs=(("y", output),))
    assert (d.spec.task, d.metrics) == (task, metrics)


@pytest.mark.parametrize("task", ["forecasting", "recommendation"])
def test_tasks_with_numbers_take_no_class(task: str) -> None:
    assert any(f"{task} predicts a number" in problem for problem in told({"task": task}))
    assert any("needs the truth" in problem for problem in told({"task": task, "label": None, "label-table": None}))


def test_a_model_that_does_not_learn_has_no_cadence() -> None:
    assert any("does not learn" in problem for problem in told({"snapshot-every": "1 h"}, learns=False))


def test_all_at_once() -> None:
    problems = told({"zzz": "1", "shards": "x", "order": "y"}, inputs=(("t", "TIMESTAMP(3)"),), outputs=())
    assert len(problems) >= 5


@pytest.mark.parametrize(
    ("sql_type", "kind"),
    [
        ("BIGINT NOT NULL", "integer"), ("TINYINT", "integer"), ("INT", "integer"), ("FLOAT", "number"),
        ("DECIMAL(10, 2)", "number"), ("DOUBLE NOT NULL", "number"), ("BOOLEAN", "boolean"), ("CHAR(3)", "string"),
        ("VARCHAR(2147483647)", "string"), ("STRING NOT NULL", "string"), ("ARRAY<FLOAT NOT NULL>", "vector"),
    ],
)  # fmt: skip
def test_kinds_of_types(sql_type: str, kind: str) -> None:
    assert field_kind("c", sql_type) == kind


@pytest.mark.parametrize("sql_type", ["DATE", "TIMESTAMP(3)", "TIMESTAMP_LTZ(3)", "BYTES", "ROW<a INT>", "ARRAY<INT>"])
def test_types_that_no_model_takes(sql_type: str) -> None:
    with pytest.raises(ValueError, match="Cast it in a view"):
        field_kind("c", sql_type)


def test_every_option_has_a_meaning_and_a_default_that_it_can_read() -> None:
    for name, option in OPTIONS.items():
        assert option.meaning, name
        assert option.default is None or option.read(option.default) is not None


@pytest.mark.parametrize(("text", "ms"), [("12 h", 43_200_000), ("1d", 86_400_000), ("100", 100), ("3 MIN", 180_000)])
def test_durations(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "h", "1.5 h", "-3 s", "0 s", "3 fortnights", "1 h 30 min"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|above zero"):
        parse_duration_ms(text)
