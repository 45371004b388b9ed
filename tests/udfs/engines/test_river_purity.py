"""Asking never teaches, and examples are learned one by one (cases C61, C64); test_river_datasets.py shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import thalweg.udfs.engines.river_engine as river_engine
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.model_text import parse

UDFS = Path(river_engine.__file__).parents[1]


def test_rivers_switch_that_lets_predictions_learn_is_out_of_reach() -> None:
    """It is one for the whole process, which serves the models of many keys."""
    for path in sorted(UDFS.rglob("*.py")):
        assert "learn_during_predict" not in path.read_text("utf-8"), path
    with pytest.raises(ConfigError):
        parse("compose.learn_during_predict() | linear_model.LogisticRegression()")


def test_river_models_are_never_taught_many_rows_at_once() -> None:
    """River's ``learn_many`` gives other models than its ``learn_one``, and few estimators have it."""
    for path in sorted((UDFS / "engines").glob("river_*.py")):
        text = path.read_text("utf-8")
        assert "learn_many" not in text, path
        assert "predict_many" not in text, path
