"""Labels by default, a prior for new keys, updates: three models in one real job, each against a plain River loop."""

from __future__ import annotations

import random
from typing import Any

import pytest
from river import linear_model, preprocessing
from streams import as_json, kafka_table, publish, result_tables, results, run

pytestmark = pytest.mark.cluster
START_MS = 1_700_000_000_000
TIMEOUT_MS = 60_000
EVENTS = 400
UPDATE_MS = 50_000
MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"


class Shown:
    """An impression, and the clicks on it: in time, too late to be waited for, far too late, never, or twice."""

    def __init__(self, n: int, dice: random.Random) -> None:
        self.id, self.ms, self.user = f"e{n:04}", START_MS + n * 1000, f"u{dice.randrange(40)}"
        self.a, self.b = dice.gauss(0, 1), dice.gauss(100, 30)
        odds = dice.random() * 0.4 + (0.5 if self.a > 0.3 else 0.0)
        self.clicks: list[int] = []
        if odds > 0.3:
            self.clicks.append(self.ms + dice.choice((1, 20_000, TIMEOUT_MS, TIMEOUT_MS + 1, 90_000, 500_000)))
        if self.clicks and dice.random() < 0.2:
            self.clicks.append(self.clicks[0] + 777)


def fates(shown: list[Shown]) -> list[tuple[int, int, str, Shown, bool]]:
    """What is learned of each event, in the order of event time: time, events before labels, id, event, label."""
    learned = []
    for event in shown:
        first = event.clicks[0] - event.ms if event.clicks else None
        if first is not None and first <= TIMEOUT_MS:
            learned.append((event.clicks[0], 1, event.id, event, True))
            continue
        learned.append((event.ms + TIMEOUT_MS + 1, 1, event.id, event, False))
        if first is not None and first <= 2 * TIMEOUT_MS:
            # One that comes in the very millisecond of the default is learned in the next one.
            learned.append((event.clicks[0] + (first == TIMEOUT_MS + 1), 1, event.id, event, True))
    return learned


def pipeline() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


@pytest.fixture(scope="module")
def shown() -> list[Shown]:
    dice = random.Random(11)
    return [Shown(n, dice) for n in range(EVENTS)]


@pytest.fixture(scope="module")
def found(broker: str, shown: list[Shown]) -> dict[str, list[dict[str, Any]]]:
    publish(
        broker,
        "clicks.shown",
        [(as_json({"id": e.id, "u": e.user, "a": e.a, "b": e.b, "y": e.a > 0.3}), e.ms) for e in shown],
    )
    clicks = sorted((ms, event.id) for event in shown for ms in event.clicks)
    publish(broker, "clicks.clicks", [(as_json({"id": name, "clicked": True}), ms) for ms, name in clicks])
    common = f"'provider' = 'river', 'model' = '{MODEL}', 'input-table' = 'shown', 'event-id' = 'id', 'shards' = '1'"
    run(
        kafka_table("shown", "id STRING, u STRING, a DOUBLE, b DOUBLE, y BOOLEAN", "clicks.shown", broker)
        + kafka_table("clicks", "id STRING, clicked BOOLEAN NOT NULL", "clicks.clicks", broker)
        + f"CREATE MODEL click INPUT (a DOUBLE, b DOUBLE) OUTPUT (clicked BOOLEAN) WITH ({common},"
        f" 'label-table' = 'clicks', 'label' = 'clicked', 'label-timeout' = '{TIMEOUT_MS} ms',"
        " 'label-default' = 'false', 'metrics-every' = '1 d');\n"
        + f"CREATE MODEL warm INPUT (a DOUBLE, b DOUBLE) OUTPUT (y BOOLEAN) WITH ({common}, 'label' = 'y',"
        " 'key' = 'u', 'prior' = 'global', 'prior-strength' = '3');\n"
        + f"CREATE MODEL slow INPUT (a DOUBLE, b DOUBLE) OUTPUT (y BOOLEAN) WITH ({common}, 'label' = 'y',"
        f" 'cadence' = '{UPDATE_MS} ms');\n"
        + result_tables(broker, "clicks")
        + "INSERT INTO predictions SELECT * FROM click_predictions UNION ALL SELECT * FROM warm_predictions"
        " UNION ALL SELECT * FROM slow_predictions;\n" + "INSERT INTO metrics SELECT * FROM click_metrics;\n"
    )
    return results(broker, "clicks", ("predictions", "metrics"))


def scores(found: dict[str, list[dict[str, Any]]], model: str) -> list[tuple[str, float | None, int]]:
    rows = [row for row in found["predictions"] if row["model"] == model]
    return sorted((row["event_id"], row["score"], row["learned"]) for row in rows)


def test_an_event_without_a_click_is_learned_as_the_default_and_corrected_by_a_later_click(
    found: Any, shown: list[Shown]
) -> None:
    model, learned, expected = pipeline(), 0, []
    rows: list[tuple[Any, ...]] = [(event.ms, 0, event.id, event, None) for event in shown]
    for _, is_label, name, event, truth in sorted([*rows, *fates(shown)], key=lambda row: row[:3]):
        x = {"a": event.a, "b": event.b}
        if is_label:
            model.learn_one(x, truth)
            learned += 1
        else:
            expected.append((name, model.predict_proba_one(x)[True] if learned else None, learned))
    assert scores(found, "click") == expected


def test_the_books_of_default_labels_balance(found: Any, shown: list[Shown]) -> None:
    last: dict[str, float] = {}
    for row in sorted(found["metrics"], key=lambda row: row["event_time_ms"]):
        if row["window"] == "cumulative":
            last[row["metric"]] = row["value"]
    learned = fates(shown)
    in_time = sum(truth and ms - event.ms <= TIMEOUT_MS for ms, _, _, event, truth in learned)
    corrected = sum(truth for *_, truth in learned) - in_time
    assert corrected > 5
    assert (last["events"], last["labels_matched"]) == (EVENTS, in_time)
    assert (last["labels_defaulted"], last["labels_corrected"]) == (EVENTS - in_time, corrected)
    assert (last["labels_expired"], last["labels_pending"]) == (0, 0)
    assert last["labels_duplicate"] == sum(len(event.clicks) == 2 for event in shown)


def test_the_area_is_that_of_the_corrected_labels(found: Any, shown: list[Shown]) -> None:
    from sklearn.metrics import roc_auc_score

    truth: dict[str, bool] = {}
    for *_, name, _, label in sorted(fates(shown), key=lambda row: row[:3]):
        truth[name] = label
    kept = [(truth[name], score) for name, score, _ in scores(found, "click") if score is not None]
    final = max(
        (row for row in found["metrics"] if row["metric"] == "ROCAUC" and row["window"] == "cumulative"),
        key=lambda row: row["event_time_ms"],
    )
    assert final["value"] == pytest.approx(roc_auc_score(*zip(*kept, strict=True)), abs=2e-3)


def test_a_new_user_starts_from_the_prior(found: Any, shown: list[Shown]) -> None:
    prior, seen, own, examples, expected = pipeline(), 0, {}, {}, []
    for event in shown:
        x, y, user = {"a": event.a, "b": event.b}, event.a > 0.3, event.user
        if user not in own:
            own[user], examples[user] = prior.clone(include_attributes=True) if seen else pipeline(), 0
            inherited = seen
        score = own[user].predict_proba_one(x)[True] if seen else None
        if score is not None and examples[user] < 3:
            weight = examples[user] / 3
            score = weight * score + (1.0 - weight) * prior.predict_proba_one(x)[True]
        expected.append((event.id, score))
        for model in (own[user], prior):
            model.learn_one(x, y)
        examples[user] += 1
        seen += 1
    assert inherited
    assert [(name, score) for name, score, _ in scores(found, "warm")] == expected


def test_updates_come_at_whole_multiples_of_their_time(found: Any, shown: list[Shown]) -> None:
    model, waiting, learned, last, expected = pipeline(), [], 0, 0, []
    for event in shown:
        x, y = {"a": event.a, "b": event.b}, event.a > 0.3
        if event.ms // UPDATE_MS > last:
            for row, label in waiting:
                model.learn_one(row, label)
            learned, waiting, last = learned + len(waiting), [], event.ms // UPDATE_MS
        expected.append((event.id, model.predict_proba_one(x)[True] if learned else None, learned))
        waiting.append((x, y))
    assert scores(found, "slow") == expected
