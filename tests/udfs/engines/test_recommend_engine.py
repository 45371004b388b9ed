"""Recommendation behind the engine protocol: intent, newcomers, sessions, repeats, options, what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from recommend_clicks import CASES, GENRES, MINUTE, T0, clicks, fed, reco, wild
from thalweg.connector.errors import ConfigError, RecordError
from thalweg.udfs.engines import build, engine_class
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Field
from thalweg.udfs.engines.checks import check_learner, check_processes
from thalweg.udfs.engines.recommend_engine import RecommendEngine
from thalweg.udfs.logic.options import OPTIONS


@pytest.mark.parametrize(("spec", "rows"), CASES)
def test_recommend_keeps_the_protocol(spec: EngineSpec, rows: list[dict[str, Any]]) -> None:
    check_learner(spec, [(row, None) for row in rows])


def test_recommend_is_the_same_in_every_process() -> None:
    check_processes([(spec, [(row, None) for row in rows]) for spec, rows in CASES[2:3]])


def test_options_of_recommend_are_not_options_of_jobs() -> None:
    assert engine_class("recommend") is RecommendEngine
    assert not set(RecommendEngine.OPTIONS) & set(OPTIONS)


def test_what_a_user_looks_at_changes_the_very_next_answer() -> None:
    engine = fed(reco(), clicks(60))
    now = T0 + 1000 * MINUTE
    for user in ("somebody new", "u0"):
        answers = [engine.step({"user": user, "item": item, "ms": now + at}) for at, item in enumerate(("pen", "pan"))]
        assert [answer.label for answer in answers] == ["ink", "pot"]
    # Before the event is learned, and as well for one that another session knows nothing of.
    asked = engine.score([{"user": "u1", "item": item, "ms": now} for item in ("tent", "pan")])
    assert [answer.label for answer in asked] == ["stove", "pot"]


def test_newcomers_get_what_is_popular_of_late() -> None:
    rows = [{"user": f"a{at}", "item": "old", "ms": T0 + at} for at in range(40)]
    rows += [{"user": f"b{at}", "item": "new", "ms": T0 + 5 * 86_400_000 + at} for at in range(20)]
    question = {"user": "nobody", "item": None, "ms": rows[-1]["ms"]}
    fast, slow = (fed(reco(half_life=text), rows).score([question])[0] for text in ("1 d", "365 d"))
    assert fast.label == "new"
    assert fast.probabilities is not None
    assert fast.probabilities["old"] < slow.probabilities["old"]


def test_a_new_item_is_found_by_its_features() -> None:
    rows: list[dict[str, Any]] = []
    dice = random.Random(3)
    for at in range(400):
        kind = "war" if at % 2 else "comedy"
        seen = dice.sample([f"{kind}-{n}" for n in range(12)], 3)
        for step, item in enumerate(seen):
            rows.append({"user": f"u{at}", "item": item, "genres": kind, "ms": T0 + MINUTE * (10 * at + step)})
    rows += [
        {"user": name, "item": f"{name}-new", "genres": name, "ms": T0 + 5000 * MINUTE} for name in ("war", "comedy")
    ]
    engine = fed(reco(GENRES, top_k="30"), rows)
    for kind, other in (("war", "comedy"), ("comedy", "war")):
        row = {"user": "x", "item": f"{kind}-3", "genres": kind, "ms": T0 + 5001 * MINUTE}
        ranked = list(engine.score([row])[0].probabilities)
        assert ranked.index(f"{kind}-new") < ranked.index(f"{other}-new")
        # What looks like what is known is enough: the item itself need not be.
        ranked = list(engine.score([{**row, "item": "unknown"}])[0].probabilities)
        assert ranked.index(f"{kind}-new") < ranked.index(f"{other}-new")


def test_answers_fall_strictly_and_have_no_item_that_was_seen() -> None:
    rows = wild(300, items=200)
    engine = fed(reco(), rows)
    for row in rows[-50:]:
        answer = engine.score([row])[0]
        shares = list(answer.probabilities.values())
        assert len(shares) <= 10
        assert shares == sorted(set(shares), reverse=True)
        assert 0 < sum(shares) <= 1 + 1e-9
        assert (answer.label, answer.score) == next(iter(answer.probabilities.items()))
        seen = {other["item"] for other in rows if other["user"] == row["user"]} | {row["item"]}
        assert not seen & set(answer.probabilities)
    again = fed(reco(exclude_seen="false"), rows).score([rows[-1]])[0]
    assert rows[-1]["item"] not in again.probabilities
    assert len(again.probabilities) == 10


def test_who_has_had_everything_is_told_so() -> None:
    row = {"user": "u", "item": "a", "ms": T0}
    answer = fed(reco(), [row]).score([row])[0]
    assert (answer.status, answer.score) == ("not_ready", None)
    assert "has not had" in answer.reason


def test_the_device_is_part_of_the_question() -> None:
    dice = random.Random(5)
    rows = []
    for at in range(600):
        device = "phone" if dice.random() < 0.5 else "desk"
        rows.append({"user": f"u{at}", "item": f"{device} game", "device": device, "ms": T0 + at})
    engine = fed(reco(Field("device", "string"), context="device", learning_rate="0.2"), rows)
    questions = [{"user": "x", "item": None, "device": device, "ms": T0 + 700} for device in ("phone", "desk")]
    assert [answer.label for answer in engine.score(questions)] == ["phone game", "desk game"]


def test_sessions_end_by_silence_or_by_their_id() -> None:
    day = 86_400_000
    for spec, visits in ((reco(), (None, None)), (reco(Field("visit", "string"), session="visit"), ("a", "b"))):
        ties = []
        for gap, ids in ((MINUTE, (visits[0], visits[0])), (day if visits[0] is None else MINUTE, visits)):
            engine = fed(
                spec,
                [{"user": "u", "item": item, "ms": T0 + gap * at, "visit": ids[at]} for at, item in enumerate("ab")],
            )
            ties.append(engine._state.tables.ties[0, 0].tolist())
        assert ties == [[1.0, 1.0], [0.0, 1.0]]


def test_a_repeat_counts_and_teaches_nothing() -> None:
    rows = clicks(9)
    engine = fed(reco(), rows)
    blob = engine.dump()
    # A retry at once, and a replay of all from the start.
    for row in [rows[-1], *rows]:
        engine.learn(row)
    assert engine.learned == 2 * len(rows) + 1
    engine._state.learned = len(rows)
    assert engine.dump() == blob


def test_a_question_teaches_nothing_and_is_not_refused() -> None:
    engine = fed(reco(), clicks(9))
    before = engine.dump()
    assert engine.step({"user": "u1", "item": None, "ms": T0}).status == "ok"
    engine._state.learned -= 1
    assert engine.dump() == before


def test_exploration_shows_what_few_know_and_repeats_itself() -> None:
    rows = clicks(300) + [{"user": f"v{n}", "item": f"rare {n}", "ms": T0 + 4000 * MINUTE} for n in range(5)]
    ask = [{"user": f"w{n}", "item": None, "ms": T0 + 4001 * MINUTE} for n in range(40)]
    plain, shaken = fed(reco(top_k="5"), rows), fed(reco(top_k="5", exploration="5"), rows)
    assert len({tuple(answer.probabilities) for answer in plain.score(ask)}) == 1
    found = shaken.score(ask)
    assert len({tuple(answer.probabilities) for answer in found}) > 20
    assert found == shaken.score(ask)
    rare = [
        sum(item.startswith("rare") for answer in e.score(ask) for item in answer.probabilities)
        for e in (plain, shaken)
    ]
    assert rare[0] < rare[1]


def test_events_that_do_not_fit_are_refused() -> None:
    engine = fed(reco(Field("w", "number"), weight="w"), clicks(6))
    good = {"user": "u", "item": "i", "ms": T0, "w": 1.0}
    for bad in ({"w": -1.0}, {"w": 1001.0}, {"ms": 1 << 53}, {"user": None}, {"ms": None}, {"item": 5}):
        assert engine.score([{**good, **bad}])[0].status == "refused"
        with pytest.raises(RecordError, match=f"'{next(iter(bad))}'"):
            engine.learn({**good, **bad})
    assert build(reco()).score([{"user": "u", "item": "i", "ms": T0}]) == [NOT_READY]  # type: ignore[attr-defined]


def test_all_that_is_wrong_with_a_spec_is_told_at_once() -> None:
    spec = EngineSpec(
        "recommend", "anomaly", "mine", (Field("user", "number"), Field("rating", "number")), Field("y", "number"),
        (("top-k", "0"), ("exploration", "much"), ("exclude-seen", "maybe"), ("weight", "rating"), ("colour", "red")),
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        build(spec)
    told = str(caught.value)
    for word in ("task", "model", "INPUT", "output", "top-k", "exploration", "exclude-seen", "weight", "colour"):
        assert word in told
    with pytest.raises(ConfigError, match="'rating': is number"):
        build(reco(Field("rating", "number")))
    with pytest.raises(ConfigError, match="names 2 inputs"):
        build(reco(GENRES, Field("b", "string"), session="genres, b"))
