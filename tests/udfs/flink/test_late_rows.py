"""Rows behind the watermark: answered and counted in the order of event time, like all others in that of arrival."""

from __future__ import annotations

import pytest
from thalweg.udfs.flink.labelled_answers import labelled_answers
from thalweg.udfs.flink.learning_rows import learning_rows
from thalweg.udfs.flink.statements import Column

NUMBER, LABEL = Column("a", "number", "DOUBLE"), Column("y", "boolean", "BOOLEAN")


@pytest.mark.parametrize("labels", [None, "labels"])
@pytest.mark.parametrize("time", [None, "thalweg_time"])
def test_no_row_is_left_out_for_its_time(labels: str | None, time: str | None) -> None:
    for query in (
        learning_rows("events", labels, [], [NUMBER], LABEL, "id", "id", 1000, time),
        labelled_answers("answers", labels, LABEL, "id", 1000, time),
    ):
        left_out = query.count("NOT thalweg_late")
        # What one part of the query leaves out another one takes.
        assert bool(left_out) <= (query.count("WHERE thalweg_late") > 0)
        assert left_out == 0 or time is not None
