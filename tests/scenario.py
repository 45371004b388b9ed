"""One stream with everything that happens to streams, and what a plain River loop makes of it.

The loop knows nothing of Thalweg: it is the independent source that the operator and the whole flow are held to.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from river import compose, linear_model, optim, preprocessing
from thalweg.udfs.logic.learning import LEARN, SCORE

MODEL = "preprocessing.StandardScaler() | linear_model.LogisticRegression()"
WITH_COLOUR = (
    "(compose.Select('a', 'b', 'c') | preprocessing.StandardScaler())"
    " + (compose.Select('colour') | preprocessing.OneHotEncoder(drop_zeros=True))"
    " | linear_model.LogisticRegression(optim.SGD(0.05))"
)
START_MS = 1_700_000_000_000
TIMEOUT_MS = 600_000
KEYS = 7


class Event(NamedTuple):
    id: str | None
    k: str | None
    a: float | None
    b: float
    c: float
    colour: str
    ms: int


class Label(NamedTuple):
    id: str | None
    y: bool | None
    ms: int


class Answer(NamedTuple):
    key: str
    score: float | None
    learned: int
    status: str


def make_stream(count: int, seed: int = 7) -> tuple[list[Event], list[Label]]:
    """Events and labels, each in the order of their time; some twice, too late, for nobody or too early."""
    pick = random.Random(seed)
    events: list[Event] = []
    labels: list[Label] = []
    for n in range(count):
        ms = START_MS + n * 1000
        a, b, c = pick.gauss(3, 2), pick.gauss(-50, 30), pick.random()
        colour = pick.choice(("red", "green", "blue", "grey" if n > count // 2 else "red"))
        key: str | None = f"k{pick.randrange(KEYS)}"
        truth = a * 2 + (3 if colour == "green" else 0) + pick.gauss(0, 2) > 7
        odd = pick.random()
        null_a, null_key = odd < 0.01, 0.01 <= odd < 0.015
        events.append(Event(f"e{n}", None if null_key else key, None if null_a else a, b, c, colour, ms))
        if 0.02 <= odd < 0.025:  # the same event twice, with other features
            events.append(Event(f"e{n}", key, a + 1, b, c, colour, ms + 300))
        delay = pick.randrange(1, TIMEOUT_MS // 2)
        if 0.03 <= odd < 0.05:  # the label never comes
            continue
        if 0.05 <= odd < 0.07:
            delay = TIMEOUT_MS + 5000
        elif 0.07 <= odd < 0.09:  # the label overtakes its event
            delay = -pick.randrange(1, 5000)
        elif 0.09 <= odd < 0.10:  # the same millisecond
            delay = 0
        labels.append(Label(f"e{n}", truth, ms + delay))
        if 0.10 <= odd < 0.12:  # the label twice, the second one a lie
            labels.append(Label(f"e{n}", not truth, ms + delay + 7777))
        if 0.12 <= odd < 0.13:
            labels.append(Label(f"nobody{n}", truth, ms + 500))
        if 0.13 <= odd < 0.135:
            labels.append(Label(f"e{n}", None, ms + 400))
        if 0.135 <= odd < 0.14:
            labels.append(Label(None, truth, ms + 450))
    return sorted(events, key=lambda e: e.ms), sorted(labels, key=lambda label: label.ms)


def river_model(text: str) -> Any:
    """The same model, written in Python and not read from the text."""
    if text == MODEL:
        return preprocessing.StandardScaler() | linear_model.LogisticRegression()
    numbers = compose.Select("a", "b", "c") | preprocessing.StandardScaler()
    colours = compose.Select("colour") | preprocessing.OneHotEncoder(drop_zeros=True)
    return numbers + colours | linear_model.LogisticRegression(optim.SGD(0.05))


class Loop:
    """What the stream must give: answers, models, the books of the labels."""

    def __init__(self, events: list[Event], labels: list[Label], text: str, keyed: bool) -> None:
        self.answers: list[tuple[str | None, Answer]] = []
        self.models: dict[str, Any] = {}
        self.learned: dict[str, int] = {}
        self.rows: list[tuple[Any, ...]] = []  # kind, key, event id, event ms, row ms, label: what the operator is fed
        self.matched = self.late = self.duplicate = self.unknown = self.refused = 0
        self._text, self._names = text, ("a", "b", "c") if text == MODEL else ("a", "b", "c", "colour")
        seen: dict[str, Event] = {}
        early: dict[str, Label] = {}
        labelled: set[str] = set()
        rows: list[tuple[int, int, str, Any]] = [(e.ms, 0, e.id or "", e) for e in events]
        rows += [(label.ms, 1, label.id or "", label) for label in labels]
        for _, is_label, _, row in sorted(rows, key=lambda r: r[:3]):
            if not is_label:
                key = row.k if keyed else ""
                first = row.id not in seen
                self._answer(row, key)
                if first:
                    seen[row.id] = row
                    if row.id in early:
                        self.unknown -= 1
                        self.matched += 1
                        self._learn(row, key, early[row.id].y, row.ms)
                continue
            if row.id is None or row.y is None:
                self.refused += 1
                self.unknown += row.id is None and row.y is not None
                continue
            if row.id in labelled:
                self.duplicate += 1
                continue
            labelled.add(row.id)
            event = seen.get(row.id)
            if event is None:
                self.unknown += 1
                early[row.id] = row
            elif row.ms - event.ms > TIMEOUT_MS:
                self.late += 1
            else:
                self.matched += 1
                self._learn(event, event.k if keyed else "", row.y, row.ms)

    def _features(self, event: Event) -> dict[str, Any]:
        return {name: getattr(event, name) for name in self._names}

    def _answer(self, event: Event, key: str | None) -> None:
        learned = 0 if key is None else self.learned.get(key, 0)
        if key is None or event.a is None:
            answer = Answer(key or "", None, learned, "refused")
        elif not learned:
            answer = Answer(key, None, 0, "not_ready")
        else:
            answer = Answer(key, self.models[key].predict_proba_one(self._features(event))[True], learned, "ok")
        self.answers.append((event.id, answer))
        self.rows.append((SCORE, key, event.id, event.ms, event.ms, None, event))

    def _learn(self, event: Event, key: str | None, truth: bool | None, ms: int) -> None:
        self.rows.append((LEARN, key, event.id, event.ms, ms, truth, event))
        if key is None or event.a is None:
            self.refused += 1
            return
        model = self.models.setdefault(key, river_model(self._text))
        model.learn_one(self._features(event), truth)
        self.learned[key] = self.learned.get(key, 0) + 1
