"""Updates are held against the version they would replace, on examples that neither has learned."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_store import Store, answers, rows, spec
from thalweg.connector.errors import ConfigError, SnapshotError
from thalweg.udfs.engines.base import EngineSpec, Field, Score
from thalweg.udfs.logic.declaration import declare
from thalweg.udfs.logic.examples import Example, Examples
from thalweg.udfs.logic.learning import STEP, LearningLogic
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.retraining import Cadence
from thalweg.udfs.logic.update_gate import UpdateGate
from thalweg.udfs.logic.upkeep import Policy

RARELY = Every(None, 1 << 40)
AB = (Field("a", "number"), Field("b", "number"))
SPECS = {
    "river": spec(),
    "neural": EngineSpec(
        "neural", "classification", "mlp(8)", AB, Field("y", "boolean"), (("learning-rate", "0.3"),)
    ),
}  # fmt: skip


def policy(cadence: Cadence, every: Every = RARELY) -> Policy:
    return Policy(every, 1 << 26, cadence=cadence)


def steps(count: int, wrong: range = range(0), seed: int = 3) -> list[tuple[Any, ...]]:
    """Rows whose label is that of ``a``; of those in ``wrong``, but of every tenth, it is turned round."""
    pick, found = random.Random(seed), []
    for n in range(count):
        a, b = pick.gauss(0, 1), pick.gauss(0, 1)
        turned = n in wrong and n % 10 != 9
        found.append((STEP, "k", f"e{n}", n, n, (a > 0) != turned, a, b))
    return found


@pytest.mark.parametrize("kind", list(SPECS))
def test_an_update_with_wrong_labels_does_not_serve(kind: str) -> None:
    logic, store = LearningLogic(SPECS[kind], policy(Cadence(events=400, gate=0.1))), Store()
    # The first update holds every tenth of its rows out, and these come first in the next one.
    given_rows = steps(1600, range(800, 1200))
    outcome = logic.on_rows(rows(*given_rows), store)
    (alert,) = outcome.alerts
    assert (alert.alert, alert.severity, alert.key) == ("update-refused", "warning", "k")
    assert alert.value > alert.threshold > 0
    assert "does not serve: its mean loss is" in alert.reason
    assert "too high a learning rate" in alert.reason
    assert store["k"].examples.refused == 1
    assert store["k"].examples.updates == 4
    by_version = {version for _, _, status, version in answers(outcome) if status == "ok"}
    assert len(by_version) == 2  # after the first update and the second; the third was put back
    right = [(score > 0.5) == label for (_, score, _, _), label in
             zip(answers(outcome)[1200:], [row[5] for row in given_rows[1200:]], strict=True)]  # fmt: skip
    assert sum(right) > 370


@pytest.mark.parametrize("kind", list(SPECS))
def test_without_a_gate_the_same_update_serves(kind: str) -> None:
    logic, store = LearningLogic(SPECS[kind], policy(Cadence(events=400))), Store()
    outcome = logic.on_rows(rows(*steps(1600, range(800, 1200))), store)
    assert not outcome.alerts
    assert len({version for _, _, status, version in answers(outcome) if status == "ok"}) == 3


def test_what_is_held_out_is_learned_by_the_update_after() -> None:
    logic, store = LearningLogic(spec(), policy(Cadence(events=200, gate=0.1))), Store()
    outcome = logic.on_rows(rows(*steps(1000)), store)
    assert not outcome.alerts
    assert sorted({version for _, _, _, version in answers(outcome)}) == [0, 180, 380, 580, 780]
    assert store["k"].engine(spec()).learned == 980
    assert [example.event_id for example in store["k"].examples.waiting] == [f"e{n}" for n in range(809, 1000, 10)]


def test_nothing_is_held_out_of_a_few_examples_and_the_last_update_takes_all() -> None:
    logic, store = LearningLogic(spec(), policy(Cadence(events=99, gate=0.1))), Store(through_bytes=True)
    assert {answer[3] for answer in answers(logic.on_rows(rows(*steps(200)), store))} == {0, 99, 198}
    store = Store(through_bytes=True)
    LearningLogic(spec(), policy(Cadence(events=200, gate=0.1))).on_rows(rows(*steps(230)), store)
    outcome = LearningLogic(spec(), Policy(RARELY, 1 << 26)).on_rows(rows(*steps(1)), store)
    assert answers(outcome)[0][3] == 230


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=6),
    cadence=st.sampled_from(
        [
            Cadence(events=110, gate=0.1),
            Cadence(time_ms=150, gate=0.0, replay_size=50, replay_ratio=0.5),
            Cadence(events=120, gate=0.0, stateful=False, replay_size=60),
        ]
    ),
    wrong=st.booleans(),
)
def test_blocks_and_restarts_change_no_verdict(seed: int, cuts: list[int], cadence: Cadence, wrong: bool) -> None:
    given_rows = steps(500, range(220, 400) if wrong else range(0), seed)
    chosen = policy(cadence)
    calm, whole = LearningLogic(spec(), chosen), Store()
    expected = calm.on_rows(rows(*given_rows), whole)
    store, at = Store(through_bytes=True), 0
    got, alerts = [], []
    for cut in [*cuts, len(given_rows)]:
        if part := given_rows[at : at + cut]:
            outcome = LearningLogic(spec(), chosen).on_rows(rows(*part), store)
            got += answers(outcome)
            alerts += outcome.alerts
        at += cut
    assert got == answers(expected)
    assert alerts == expected.alerts
    assert store["k"].dump() == whole["k"].dump()


class Says:
    """A model with given answers."""

    def __init__(self, scores: list[float | None]) -> None:
        self.scores = scores

    def score(self, found: Any) -> list[Score]:
        return [Score(score, None, None, "refused" if score is None else "ok") for score in self.scores]


def gate_of(labels: list[Any], kind: str = "boolean", tolerance: float = 0.1) -> UpdateGate:
    task = "classification" if kind == "boolean" else "regression"
    held = [Example(f"e{n}", n, label, (0.0,)) for n, label in enumerate(labels)]
    return UpdateGate(EngineSpec("river", task, "", (AB[0],), Field("y", kind)), held, tolerance)


def verdict(gate: UpdateGate, before: Any, after: Any) -> Any:
    gate.look(Says(before))  # type: ignore[arg-type]
    return gate.judge(Says(after))  # type: ignore[arg-type]


def test_a_verdict_needs_more_than_chance_and_more_than_the_tolerance() -> None:
    labels = [n % 2 == 0 for n in range(40)]
    good, worse = [0.8 if label else 0.2 for label in labels], [0.7 if label else 0.3 for label in labels]
    found = verdict(gate_of(labels), good, worse)
    assert found.loss == pytest.approx(0.3567, abs=1e-4)
    assert found.most == pytest.approx(0.2231 * 1.1 + 0.001, abs=1e-4)
    assert verdict(gate_of(labels, tolerance=0.7), good, worse) is None
    assert verdict(gate_of(labels), worse, good) is None
    assert verdict(gate_of(labels), good, good) is None
    chance = [*good[:-1], 0.999999]  # one row that is very wrong says nothing of the others
    assert verdict(gate_of(labels), good, chance) is None


def test_an_update_without_an_answer_does_not_serve_and_one_to_nothing_does() -> None:
    labels = [True] * 20
    assert "no answer to 1 of 20" in verdict(gate_of(labels), [0.5] * 20, [None, *[0.9] * 19]).reason
    assert verdict(gate_of(labels), [None] * 20, [0.1] * 20) is None
    assert verdict(gate_of(labels), [None, *[0.5] * 19], [None, *[0.5] * 19]) is None


def test_numbers_without_noise_are_not_held_against_rounding_errors() -> None:
    labels = [float(n) for n in range(30)]
    exact, rounded = [label + 1e-9 for label in labels], [label + 1e-7 for label in labels]
    assert verdict(gate_of(labels, "number"), exact, rounded) is None
    assert verdict(gate_of(labels, "number"), exact, [label + 1 for label in labels]) is not None


def test_examples_of_the_first_protocol_are_read() -> None:
    import struct

    examples = Examples(spec(), 5, True)
    for n in range(3):
        examples.add(Example(f"e{n}", n, True, (1.0, 2.0)))
    examples.settle()
    examples.add(Example("e9", 9, True, (1.0, 2.0)))
    now = examples.dump()
    _, aged, updates, _, _, first, second = struct.unpack_from("<BQQQIII", now)
    old = struct.pack("<BQQII", 1, aged, updates, first, second) + now[struct.calcsize("<BQQQIII") :]
    again = Examples(spec(), 5, True)
    again.load(old)
    assert again.dump() == now
    assert Examples.aged_in(old) == Examples.aged_in(now) == 3
    lies = struct.pack("<BQQQIII", 2, aged, updates, 0, 2, first, second) + now[struct.calcsize("<BQQQIII") :]
    with pytest.raises(SnapshotError, match="more were held out"):
        again.load(lies)


def test_the_option_is_a_share_or_none() -> None:
    head = {"provider": "river", "model": "m", "input-table": "t", "event-id": "id", "label": "y", "cadence": "1 h"}

    def gate(**more: str) -> Any:
        options = {**head, **{name.replace("_", "-"): text for name, text in more.items()}}
        found = declare("m", [("a", "DOUBLE")], [("y", "BOOLEAN")], options, (), True).policy().cadence
        return None if found is None else found.gate

    assert (gate(), gate(update_gate="0"), gate(update_gate="none")) == (0.1, 0.0, None)
    with pytest.raises(ConfigError, match=r"'update-gate'.*'loose' is not a number"):
        gate(update_gate="loose")
    with pytest.raises(ConfigError, match=r"'update-gate'.*learns from every event"):
        gate(update_gate="0.2", cadence="every-event")
