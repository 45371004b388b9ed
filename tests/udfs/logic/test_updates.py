"""Models that learn by updates: when, from what, and the same however rows are cut and whenever it restarts."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_store import Store, answers, rows, spec
from river import linear_model, preprocessing
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.declaration import declare
from thalweg.udfs.logic.learning import LEARN, SCORE, STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.retraining import Cadence
from thalweg.udfs.logic.upkeep import Policy

HOUR = 3_600_000
RARELY = Every(None, 1 << 40)


def policy(cadence: Cadence, every: Every = RARELY) -> Policy:
    return Policy(every, 1 << 26, cadence=cadence)


def stream(count: int, keys: int = 1, seed: int = 5, step_ms: int = 60_000) -> list[tuple[Any, ...]]:
    pick, found = random.Random(seed), []
    for n in range(count):
        a, b = pick.gauss(0, 1), pick.gauss(5, 3)
        kind = pick.choice((STEP, STEP, STEP, SCORE, LEARN))
        label = None if kind == SCORE else a * 2 + b > 5
        found.append((kind, f"k{pick.randrange(keys)}", f"e{n}", n * step_ms, n * step_ms, label, a, b))
    return found


def rivers(given_rows: list[tuple[Any, ...]], due: Any) -> list[float | None]:
    """River's pipeline, fed what has waited whenever ``due`` (examples that wait, time of the next row) says so."""
    model, waiting, learned, expected = preprocessing.StandardScaler() | linear_model.LogisticRegression(), [], 0, []
    for kind, _, _, _, ms, label, a, b in given_rows:
        x = {"a": a, "b": b}
        if due(len(waiting), ms, True):
            for row, truth in waiting:
                model.learn_one(row, truth)
            learned, waiting = learned + len(waiting), []
        if kind != LEARN:
            expected.append(model.predict_proba_one(x)[True] if learned else None)
        if kind != SCORE:
            waiting.append((x, label))
            if due(len(waiting), ms, False):
                for row, truth in waiting:
                    model.learn_one(row, truth)
                learned, waiting = learned + len(waiting), []
    return expected


def test_updates_by_count_are_rivers_learning_put_off() -> None:
    given_rows = stream(400)
    logic = LearningLogic(spec(), policy(Cadence(events=25)))
    got = [answer[1] for answer in answers(logic.on_rows(rows(*given_rows), Store()))]
    assert got == rivers(given_rows, lambda waiting, ms, before: not before and waiting >= 25)


def test_updates_by_time_stand_on_whole_hours() -> None:
    given_rows = stream(400)
    last = [0]

    def due(waiting: int, ms: int, before: bool) -> bool:
        passed = before and waiting > 0 and ms // HOUR > last[0]
        if before:
            last[0] = ms // HOUR
        return passed

    logic = LearningLogic(spec(), policy(Cadence(time_ms=HOUR)))
    got = [answer[1] for answer in answers(logic.on_rows(rows(*given_rows), Store()))]
    assert got == rivers(given_rows, due)


def test_a_model_is_updated_when_its_loss_drifts() -> None:
    logic, store = LearningLogic(spec(), policy(Cadence(events=500, drift=True))), Store()
    steps = [(STEP, "k", f"e{n}", n, n, (n % 7 > 3) == (n < 2000), float(n % 7), 1.0) for n in range(3000)]
    outcome = logic.on_rows(rows(*steps), store)
    versions = sorted({answer[3] for answer in answers(outcome)})
    assert [version for version in versions if version <= 2000] == [0, 500, 1000, 1500, 2000]
    assert any(2000 < version < 2500 for version in versions)
    first = outcome.decisions[0]
    assert (first.decision, 2000 < first.time_ms < 2500) == ("retrain", True)
    assert "'cadence' = 'on-drift'" in first.reason
    figures = json.loads(first.evidence)
    assert figures["newest_error"] > figures["usual_error"]
    assert figures["learned"] == 2000 < figures["learned_after"]


def test_a_full_buffer_is_learned_whatever_the_time() -> None:
    logic = LearningLogic(spec(), policy(Cadence(time_ms=1 << 40, most=30)))
    steps = [(STEP, "k", f"e{n}", n, n, n % 2 == 0, float(n % 7), 1.0) for n in range(100)]
    assert {answer[3] for answer in answers(logic.on_rows(rows(*steps), Store()))} == {0, 30, 60, 90}


def test_what_waits_is_learned_when_the_cadence_becomes_every_event() -> None:
    store = Store(through_bytes=True)
    steps = [(STEP, "k", f"e{n}", n, n, n % 2 == 0, float(n % 7), 1.0) for n in range(40)]
    LearningLogic(spec(), policy(Cadence(events=25))).on_rows(rows(*steps), store)
    outcome = LearningLogic(spec(), Policy(RARELY, 1 << 26)).on_rows(rows(steps[0]), store)
    assert answers(outcome)[0][3] == 40
    assert store["k"].engine(spec()).learned == 41


def test_stateless_begins_anew_from_the_newest_and_the_version_goes_on() -> None:
    cadence = Cadence(events=20, stateful=False, replay_size=30)
    logic, store = LearningLogic(spec(), policy(cadence, Every(20, None))), Store()
    steps = [(STEP, "k", f"e{n}", n, n, n % 3 == 0, float(n % 7), float(n % 11)) for n in range(100)]
    outcome = logic.on_rows(rows(*steps), store)
    assert [published.learned for published in outcome.published] == [20, 40, 60, 80, 100]
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for _, _, _, _, _, label, a, b in steps[50:]:  # the 30 newest old ones, and the 20 that waited
        model.learn_one({"a": a, "b": b}, label)
    found = store["k"].engine(spec())
    assert found.learned == 50
    assert found.score([{"a": 1.0, "b": 2.0}])[0].score == model.predict_proba_one({"a": 1.0, "b": 2.0})[True]


def test_an_update_that_makes_a_model_unwell_is_taken_back() -> None:
    text = "linear_model.LinearRegression(optimizer=optim.SGD(0.5))"
    the_spec = EngineSpec("river", "regression", text, (Field("a", "number"),), Field("y", "number"))
    logic, store = LearningLogic(the_spec, policy(Cadence(events=50))), Store()
    steps = [(STEP, "k", f"e{n}", n, n, 1.0 if n % 2 else -1e6, 1e6 + n if n >= 100 else 0.001 * n) for n in range(250)]
    outcome = logic.on_rows(rows(*steps), store)
    assert {alert.alert for alert in outcome.alerts} == {"divergence"}
    assert {decision.decision for decision in outcome.decisions} == {"rollback"}
    assert store["k"].engine(the_spec).healthy()
    assert store["k"].engine(the_spec).learned == 100


def test_a_network_learns_in_mini_batches() -> None:
    network = EngineSpec(
        "neural", "classification", "mlp(8)", (Field("a", "number"), Field("b", "number")), Field("y", "boolean"),
        (("learning-rate", "0.05"),),
    )  # fmt: skip
    logic, store = LearningLogic(network, policy(Cadence(events=64, replay_size=200, replay_ratio=1.0))), Store()
    outcome = logic.on_rows(rows(*stream(600)), store)
    scored = [answer for answer in answers(outcome) if answer[2] == "ok"]
    assert len({answer[3] for answer in scored}) > 4
    assert store["k0"].engine(network).learned > 600  # the old ones are learned again


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    cadence=st.sampled_from(
        [
            Cadence(events=7),
            Cadence(time_ms=HOUR),
            Cadence(time_ms=HOUR, drift=True, replay_size=20, replay_ratio=0.5),
            Cadence(time_ms=20 * 60_000, stateful=False, replay_size=15),
        ]
    ),
    clock=st.booleans(),
    through_bytes=st.booleans(),
)
def test_blocks_clocks_and_restarts_change_no_update(
    seed: int, cuts: list[int], cadence: Cadence, clock: bool, through_bytes: bool
) -> None:
    given_rows = stream(150, 3, seed)
    chosen = policy(cadence, Every(None, 2 * HOUR))
    whole = Store()
    calm = LearningLogic(spec(), chosen).on_rows(rows(*given_rows), whole)
    store, at = Store(through_bytes), 0
    got, published = [], []
    for cut in [*cuts, len(given_rows)]:
        part = given_rows[at : at + cut]
        at += cut
        if not part:
            continue
        logic = LearningLogic(spec(), chosen)
        if clock:
            published += logic.on_time(part[0][4] - 1, store).published
        outcome = logic.on_rows(rows(*part), store)
        got += answers(outcome)
        published += outcome.published
    assert got == answers(calm)
    # A row wakes only its own key; the clock wakes all, so that a key without rows is seen to earlier.
    end = LearningLogic(spec(), chosen)
    published += end.on_time(1 << 60, store).published
    expected = calm.published + LearningLogic(spec(), chosen).on_time(1 << 60, whole).published
    assert sorted(published) == sorted(expected)
    assert {key: cell.dump() for key, cell in store.items()} == {key: cell.dump() for key, cell in whole.items()}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"replay-size": "5"}, "'replay-size'.*learns from every event"),
        ({"cadence": "1 h", "retrain": "stateless"}, "'retrain'.*none are kept.*'replay-size'"),
        ({"cadence": "1 h", "replay-ratio": "0.5"}, "'replay-ratio'.*no old examples"),
        ({"cadence": "1 h", "prior": "global", "key": "k"}, "'prior'.*Remove one"),
        ({"cadence": "hourly"}, "'cadence'.*'hourly' is not a duration"),
        ({"cadence": "1 h, 100 events"}, "'cadence'.*more than one"),
    ],
)
def test_options_of_updates_are_held_against_each_other(options: dict[str, str], says: str) -> None:
    given_options = {"provider": "river", "model": "m", "input-table": "t", "event-id": "id", "label": "y", **options}
    with pytest.raises(ConfigError, match=says):
        declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], given_options, (), True)
    right = {**given_options, "cadence": "1 d, on-drift", "replay-size": "5", "retrain": "stateful", "prior": "none"}
    found = declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], right, (), True).policy().cadence
    assert found is not None
    assert found[:5] == (None, 86_400_000, True, True, 5)
