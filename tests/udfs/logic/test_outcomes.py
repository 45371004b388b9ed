"""From labelled answers to the columns of the evaluation: whole blocks say what single rows say."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.evaluation import TOGETHER
from thalweg.udfs.logic.outcomes import as_numbers, outcome_columns

SPEC = EngineSpec("river", "classification", "m", (Field("a", "number"),), Field("y", "boolean"))
ROWS = st.lists(
    st.tuples(
        st.none() | st.floats(0, 1),
        st.sampled_from([None, "true", "false", "TRUE", ""]),
        st.sampled_from([None, "true", "false", "TRUE", "False"]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(rows=ROWS)
def test_a_block_of_yes_or_no_is_read_as_its_rows_are(rows: list[tuple[Any, Any, Any]]) -> None:
    count = len(rows)
    scores, labels, truths = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    columns = [[TOGETHER] * count, ["e"] * count, [0] * count, [0] * count, scores, labels, [None] * count, truths]
    found = np.array(outcome_columns(SPEC, columns)[3:7], dtype=np.float64).T
    single = [as_numbers(SPEC, score, label, None, truth) for score, label, truth in rows]
    np.testing.assert_array_equal(found, np.array(single, dtype=np.float64).reshape(count, 4))
