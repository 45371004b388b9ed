"""River as SQL functions on a mini cluster: learn in GROUP BY and TUMBLE, score by a join, measure, watch for drift."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from conftest import lacking
from river import drift, linear_model, metrics, preprocessing
from thalweg.connector.errors import SetupError
from thalweg.udfs.logic.portable import unpack_model

pytestmark = pytest.mark.cluster
ROWS = 900
MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
FUNCTIONS = ("river_score", "river_label", "river_predict", "river_model", "river_learn", "online_metric", "drift")
Event = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Event]:
    dice = np.random.default_rng(11)
    found: list[Event] = []
    for n in range(ROWS):
        a, b = dice.normal(size=2).round(6).tolist()
        late = n >= ROWS // 2
        found.append(
            {
                "g": f"g{n % 3}",
                "a": None if n % 50 == 7 else a,
                "k": int(b * 10),
                "y": None if n % 60 == 11 else bool(a - b + dice.normal() / 4 > 0),
                "p": round(float(dice.uniform()), 6),
                "e": bool(dice.uniform() < (0.7 if late else 0.1)),
                "x": a + (4.0 if late else 0.0),
                "ts": f"2024-01-01 00:{n // 60:02d}:{n % 60:02d}",
            }
        )
    return found


@pytest.fixture(scope="module")
def session(rows: list[Event], tmp_path_factory: pytest.TempPathFactory) -> Any:
    from thalweg.jobs.environment import make_environment

    folder = tmp_path_factory.mktemp("events")
    (folder / "events.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        # Small bundles, so that states go through bytes on their way.
        settings = {"python.fn-execution.bundle.size": "200", "restart-strategy.type": "none"}
        t_env = make_environment("throughput", settings, None, 1)
    except SetupError as error:
        lacking(str(error))
    for name in FUNCTIONS:
        path = f"thalweg.udfs.flink.river_functions.{name}"
        t_env.execute_sql(f"CREATE TEMPORARY FUNCTION {name} AS '{path}' LANGUAGE PYTHON")
    t_env.execute_sql(
        "CREATE TEMPORARY TABLE events (g STRING, a DOUBLE, k BIGINT, y BOOLEAN, p DOUBLE, e BOOLEAN, x DOUBLE,"
        " ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)"
        f" WITH ('connector' = 'filesystem', 'path' = '{(folder / 'events.json').as_uri()}', 'format' = 'json')"
    )
    return t_env


def last_of(t_env: Any, sql: str) -> dict[tuple[Any, ...], Any]:
    """Collect a query whose first column is the group, and keep the last row of each."""
    found: dict[tuple[Any, ...], Any] = {}
    with t_env.execute_sql(sql).collect() as results:
        for row in results:
            found[row[0]] = list(row)[1:]
    return found


def loop(rows: list[Event]) -> Any:
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for row in rows:
        if row["a"] is not None and row["y"] is not None:
            model.learn_one({"f0": row["a"], "f1": float(row["k"])}, row["y"])
    return model


def groups(rows: list[Event]) -> dict[str, list[Event]]:
    found = defaultdict(list)
    for row in rows:
        found[row["g"]].append(row)
    return found


def test_river_learn_in_group_by_is_rivers_loop(session: Any, rows: list[Event]) -> None:
    found = last_of(session, f"SELECT g, river_learn('{MODEL}', y, a, k) AS m FROM events GROUP BY g")
    assert sorted(found) == ["g0", "g1", "g2"]
    for group, events in groups(rows).items():
        engine, model = unpack_model(bytes(found[group][0])), loop(events)
        assert engine.learned == sum(row["a"] is not None and row["y"] is not None for row in events)
        for row in events[:20]:
            if row["a"] is not None:
                x = {"f0": row["a"], "f1": float(row["k"])}
                assert engine.score([x])[0].score == model.predict_proba_one(x)[True]


def test_river_learn_over_tumble_then_river_score_by_a_join(session: Any, rows: list[Event]) -> None:
    session.execute_sql(
        "CREATE TEMPORARY VIEW fitted AS SELECT TUMBLE_START(ts, INTERVAL '5' MINUTE) AS w,"
        f" river_learn('{MODEL}', y, a, k) AS m FROM events GROUP BY TUMBLE(ts, INTERVAL '5' MINUTE)"
    )
    sql = (
        "SELECT w, ts, s, l, r.score, r.label, r.probabilities, r.status, r.reason, r.learned FROM (SELECT w, ts,"
        " river_score(m, a, k) AS s, river_label(m, a, k) AS l, river_predict(m, a, k) AS r FROM fitted"
        " JOIN events ON g = 'g1')"
    )
    with session.execute_sql(sql).collect() as results:
        found = [list(row) for row in results]
    windows = [loop(rows[start : start + 300]) for start in range(0, ROWS, 300)]
    events = {row["ts"]: row for row in rows if row["g"] == "g1"}
    assert len(found) == len(windows) * len(events)
    for begin, ts, score, label, *answer in found:
        row, model = events[str(ts)], windows[begin.minute // 5]
        if row["a"] is None:
            assert (score, label, answer[3]) == (None, None, "refused")
            assert "NULL" in answer[4]
            continue
        expected = model.predict_proba_one({"f0": row["a"], "f1": float(row["k"])})[True]
        assert (score, label) == (expected, "true" if expected > 1 - expected else "false")
        assert (answer[0], answer[1], answer[2], answer[3], answer[4]) == (expected, label, None, "ok", "")
        assert answer[5] > 280


def test_online_metric_is_rivers(session: Any, rows: list[Event]) -> None:
    found = last_of(
        session,
        "SELECT g, online_metric('LogLoss', y, p), online_metric('Accuracy', y, p),"
        " online_metric('FBeta(beta=2)', y, p), online_metric('MAE', x, p), online_metric('ROCAUC(n_thresholds=20)',"
        " y, p), online_metric('ROCAUC', y, p) FROM events GROUP BY g",
    )
    for group, events in groups(rows).items():
        on_scores: list[Any] = [metrics.LogLoss(), metrics.ROCAUC(n_thresholds=20)]
        on_labels: list[Any] = [metrics.Accuracy(), metrics.FBeta(beta=2)]
        numeric = metrics.MAE()
        labelled = [row for row in events if row["y"] is not None]
        for row in labelled:
            for metric in on_scores:
                metric.update(row["y"], row["p"])
            for metric in on_labels:
                metric.update(row["y"], row["p"] > 0.5)
        for row in events:
            numeric.update(row["x"], row["p"])
        log_loss, coarse = on_scores
        expected = [log_loss.get(), *(metric.get() for metric in on_labels), numeric.get(), coarse.get()]
        assert found[group][:5] == expected
        pairs = [
            (yes["p"] > no["p"]) + (yes["p"] == no["p"]) / 2
            for yes in labelled
            for no in labelled
            if yes["y"] and not no["y"]
        ]
        assert found[group][5] == pytest.approx(sum(pairs) / len(pairs), abs=1e-3)


def test_drift_is_rivers(session: Any, rows: list[Event]) -> None:
    calls = ["drift('ADWIN(delta=0.01)', x)", "drift('DDM', e)", "drift('PageHinkley', a)"]
    inner = ", ".join(f"{call} AS d{at}" for at, call in enumerate(calls))
    # PyFlink cannot collect a ROW with a NULL in it, so its fields are columns here.
    outer = ", ".join(f"d{at}.{name}" for at in range(3) for name in ("drifts", "n", "last_at", "skipped"))
    found = last_of(session, f"SELECT g, {outer} FROM (SELECT g, {inner} FROM events GROUP BY g)")
    for group, events in groups(rows).items():
        for at, (detector, column) in enumerate(
            [(drift.ADWIN(delta=0.01), "x"), (drift.binary.DDM(), "e"), (drift.PageHinkley(), "a")]
        ):
            seen = [row[column] for row in events if row[column] is not None]
            drifts = []
            for n, value in enumerate(seen):
                detector.update(value)
                if detector.drift_detected:
                    drifts.append(n + 1)
            last = drifts[-1] if drifts else None
            assert found[group][4 * at : 4 * at + 4] == [len(drifts), len(seen), last, len(events) - len(seen)]
            if column != "a":
                assert drifts


def test_river_model_puts_spec_and_blob_together(session: Any) -> None:
    from thalweg.udfs.engines import build
    from thalweg.udfs.engines.base import EngineSpec, Field

    spec = EngineSpec(
        "river", "regression", MODEL.replace("Logistic", "Linear"), (Field("z", "number"),), Field("y", "number")
    )
    engine: Any = build(spec)
    for n in range(30):
        engine.learn({"z": n / 10}, n / 5)
    text = spec.to_json().replace("'", "''")
    sql = (
        f"SELECT x, river_score(river_model(spec, `blob`), x) FROM events,"
        f" (VALUES ('{text}', x'{engine.dump().hex()}')) AS s(spec, `blob`)"
    )
    for x, (score,) in last_of(session, sql).items():
        assert score == engine.score([{"z": x}])[0].score


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("river_learn('linear_model.LogisticRegression()', a, a)", "BOOLEAN and STRING make a classification"),
        ("drift('ADWINN', a)", "no such detector. Known: ADWIN"),
    ],
)
def test_what_a_call_lacks_is_told_at_the_first_row(session: Any, call: str, says: str) -> None:
    with pytest.raises(Exception, match=re.escape(says)):
        last_of(session, f"SELECT g, {call} FROM events GROUP BY g")
