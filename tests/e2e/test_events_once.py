"""An event that comes twice with its label in it: a view with the first of each id lets the model learn it once."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from river import linear_model
from streams import run

pytestmark = pytest.mark.cluster
EVENTS = 300


def test_a_view_of_first_rows_is_learned_once_per_event(tmp_path: Path) -> None:
    run(
        "CREATE TABLE numbers (n BIGINT, ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts) WITH ("
        f"'connector' = 'datagen', 'number-of-rows' = '{2 * EVENTS}', 'fields.n.kind' = 'sequence',"
        f" 'fields.n.start' = '0', 'fields.n.end' = '{2 * EVENTS - 1}');\n"
        "CREATE VIEW events AS SELECT CAST(n / 2 AS STRING) AS id, MOD(n / 2, 7) / 7.0E0 AS a, MOD(n / 2, 3) = 0 AS y,"
        " ts FROM numbers;\n"
        "CREATE VIEW firsts AS SELECT id, a, y, ts FROM"
        " (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS n FROM events) WHERE n = 1;\n"
        "CREATE MODEL m INPUT (a DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river',"
        " 'model' = 'linear_model.LogisticRegression()', 'input-table' = 'firsts', 'event-id' = 'id', 'label' = 'y');\n"
        "CREATE TABLE told (event_id STRING, score DOUBLE, learned BIGINT) WITH ('connector' = 'filesystem',"
        f" 'path' = '{tmp_path.as_uri()}/told', 'format' = 'csv');\n"
        "INSERT INTO told SELECT event_id, score, learned FROM m_predictions;\n"
    )
    lines = [line for file in sorted((tmp_path / "told").iterdir()) for line in csv.reader(file.open())]
    found = {int(event): (score, int(learned)) for event, score, learned in lines}
    assert len(lines) == len(found) == EVENTS
    model = linear_model.LogisticRegression()
    for n in range(EVENTS):
        x = {"a": (n % 7) / 7.0}
        score, learned = found[n]
        assert learned == n
        if n:
            assert float(score) == model.predict_proba_one(x)[True]
        model.learn_one(x, n % 3 == 0)
