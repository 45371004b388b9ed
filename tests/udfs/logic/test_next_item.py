"""The task next-item in a declaration: it learns from the events themselves."""

from __future__ import annotations

import pytest
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.recommend_engine import RecommendEngine
from thalweg.udfs.logic.declaration import Declaration, declare
from thalweg.udfs.logic.metrics import known_metrics

INPUTS = [("who", "STRING"), ("what", "STRING"), ("ms", "BIGINT")]
GIVEN = {
    "provider": "recommend", "model": "recommend", "task": "next-item", "input-table": "clicks", "event-id": "id",
    "top-k": "5",
}  # fmt: skip


def next_item(**more: str) -> Declaration:
    return declare("r", INPUTS, [("next", "STRING")], {**GIVEN, **more}, RecommendEngine.OPTIONS, True)


def test_next_item_needs_no_label_and_takes_none() -> None:
    declared = next_item()
    assert (declared.spec.task, declared.label, declared.metrics) == ("next-item", None, ())
    assert declared.spec.param("top-k", "") == "5"
    with pytest.raises(ConfigError, match="each event is the truth"):
        next_item(label="what")
    assert known_metrics("next-item", "string") == ()


def test_next_item_has_no_prior_and_no_slices() -> None:
    for option in ({"prior": "global", "key": "who"}, {"slices": "who"}):
        with pytest.raises(ConfigError):
            next_item(**option)
