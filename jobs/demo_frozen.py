"""The frozen model of the demo: trained on January with scikit-learn, exported to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.connector.errors import SetupError
from thalweg.jobs.demo_flights import FEATURES, Flights

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NUMBERS", "export", "train"]

NUMBERS = ("distance",)
"""The features that are numbers; the others are categories."""


def train(january: Flights) -> Any:
    """Return a scikit-learn pipeline that gives the probability of a late arrival.

    Scaled numbers and one-hot categories into a multilayer perceptron of 32 and 16 units.

    Raises
    ------
    SetupError
        scikit-learn is not installed.
    """
    try:
        from sklearn.compose import ColumnTransformer
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler
    except ImportError as error:
        raise SetupError("The demo needs scikit-learn: install thalweg[demo].") from error
    known = january.labelled
    categories = [name for name in FEATURES if name not in NUMBERS]
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", StandardScaler(), list(NUMBERS)),
                ("categories", OneHotEncoder(handle_unknown="ignore"), categories),
            ]
        ),
        MLPClassifier((32, 16), early_stopping=True, random_state=0),
    )
    return pipeline.fit(_table(january)[known], january.late[known].astype(int))


def export(pipeline: Any, path: Path) -> None:
    """Write a pipeline of ``train`` as ONNX, with one input per feature."""
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    except ImportError as error:
        raise SetupError("The demo needs skl2onnx: install thalweg[demo].") from error
    inputs = [
        (name, FloatTensorType([None, 1]) if name in NUMBERS else StringTensorType([None, 1])) for name in FEATURES
    ]
    model = to_onnx(pipeline, initial_types=inputs, options={"zipmap": False})
    path.write_bytes(model.SerializeToString())


def _table(flights: Flights) -> pd.DataFrame:
    table = flights.table.assign(hour_of_day=flights.table["sched_hour"].astype(str))
    return table[list(FEATURES)].astype(dict.fromkeys(NUMBERS, "float32"))
