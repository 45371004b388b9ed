"""Optimisers against River's own, schedules, clipping, decay, and that a table costs what it is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from river import optim
from thalweg.connector.errors import ConfigError
from thalweg.udfs.engines.neural_losses import read_loss
from thalweg.udfs.engines.neural_optimisers import OPTIMISERS, Optimiser, read_schedule
from thalweg.udfs.engines.neural_weights import Layout, Training, Weights

dice = np.random.default_rng(2)
GRADIENTS = dice.normal(size=(20, 6))
RIVER: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.Momentum(0.1, rho=0.9),
    "adam": lambda: optim.Adam(0.1, eps=1e-8),
    "adagrad": lambda: optim.AdaGrad(0.1, eps=1e-10),
    "ftrl": lambda: optim.FTRLProximal(alpha=0.1, beta=1.0, l1=0.0, l2=0.3),
}


def weights_of(
    layout: Layout, name: str = "sgd", clip: float = 0.0, l2: float = 0.0, schedule: str = "constant"
) -> Weights:
    return Weights(layout, Training(Optimiser(name, 0.1), read_schedule(schedule, []), clip, l2))


@pytest.mark.parametrize("name", list(OPTIMISERS))
def test_optimisers_move_as_those_of_river_do(name: str) -> None:
    optimiser, theirs = Optimiser(name, 0.1, l2=0.3 if name == "ftrl" else 0.0), RIVER[name]()
    mine, slots = np.zeros(6), optimiser.start(np.zeros(6))
    other = dict.fromkeys(range(6), 0.0)
    for step, gradient in enumerate(GRADIENTS, 1):
        optimiser.move(mine, slots, gradient, 0.1, step)
        other = theirs.step(other, dict(enumerate(gradient.tolist())))
        if name == "ftrl":  # theirs moves at the beginning of the next step
            other = theirs.step(other, dict.fromkeys(range(6), 0.0))
        # Where a gradient is small, their Adam differs by the place of its epsilon.
        np.testing.assert_allclose(mine, [other[at] for at in range(6)], rtol=1e-4, atol=1e-9)


def test_ftrl_begins_at_the_weights_it_is_given() -> None:
    first = dice.normal(size=5).astype(np.float32)
    optimiser, mine = Optimiser("ftrl", 0.1, l2=0.3), first.copy()
    slots = optimiser.start(mine)
    optimiser.move(mine, slots, np.zeros(5, np.float32), 0.1, 1)
    np.testing.assert_allclose(mine, first, rtol=1e-6)


def test_schedules_fall_as_they_say() -> None:
    found: dict[str, list[float]] = {
        text: [read_schedule(text, [])(step) for step in (0, 50, 100, 10**9)]
        for text in ("constant", "inverse-sqrt(50)", "inverse(50)", "step(100, 0.5)", "cosine(100)")
    }
    assert found["constant"] == [1, 1, 1, 1]
    assert found["inverse-sqrt(50)"][:3] == pytest.approx([1, 0.5**0.5, (1 / 3) ** 0.5])
    assert found["inverse(50)"] == pytest.approx([1, 0.5, 1 / 3, 0.01])
    assert found["step(100, 0.5)"] == pytest.approx([1, 1, 0.5, 0.01])
    assert found["cosine(100)"] == pytest.approx([1, 0.505, 0.01, 0.01])
    for wrong in ("", "cosine(0)", "cosine(a)", "step(1,2,3)", "constant(1)", "step(-1)"):
        problems: list[Any] = []
        read_schedule(wrong, problems)
        assert len(problems) == 1, wrong


def test_losses_are_read_with_their_numbers() -> None:
    assert read_loss("huber(2.5)", False).number == 2.5
    assert read_loss("quantile", False).number == 0.5
    assert (read_loss("", False).name, read_loss("", True).classifies) == ("squared", True)
    for text in ("squared(1)", "huber(0)", "quantile(1)", "huber(1", "cross-entropy", "hinge", "huber(1e)"):
        with pytest.raises(ConfigError, match="option 'loss'"):
            read_loss(text, False)


DENSE = Layout((("w", np.ones((2, 2), np.float32)), ("b", np.ones(2, np.float32))), (), frozenset({"w"}))


def test_a_gradient_is_cut_to_its_length_over_all_weights() -> None:
    layout = Layout(DENSE.dense, (("t", np.zeros((5, 1), np.float32)),), frozenset())
    weights = weights_of(layout, clip=1.0)
    weights.step(np.full(6, 2, np.float32), [(0, np.array([3, 3]), np.array([[2.0], [3.0]], np.float32))])
    np.testing.assert_allclose(weights.feeds["w"], 1 - 0.1 * 2 / 7, rtol=1e-6)
    np.testing.assert_allclose(weights.feeds["t"][:, 0], [0, 0, 0, -0.1 * 5 / 7, 0], rtol=1e-6)


def test_decay_draws_matrices_and_not_biases() -> None:
    weights = weights_of(DENSE, l2=0.5)
    weights.step(np.zeros(6, np.float32), ())
    np.testing.assert_allclose(weights.feeds["w"], 0.95, rtol=1e-6)
    np.testing.assert_array_equal(weights.feeds["b"], 1)


@pytest.mark.parametrize("name", list(OPTIMISERS))
def test_a_step_on_a_table_moves_no_more_than_the_rows_it_touched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a step is the size of the arrays that it works on: of a million rows, three."""
    table = dice.normal(size=(1_000_000, 2)).astype(np.float32)
    weights = weights_of(Layout((), (("t", table),), frozenset()), name, clip=1.0, l2=0.1)
    sizes = []
    slots, move = OPTIMISERS[name]

    def watched(w: Any, slots: Any, g: Any, *rest: Any) -> None:
        sizes.append((w.size, g.size, sum(slot.size for slot in slots)))
        move(w, slots, g, *rest)

    monkeypatch.setitem(OPTIMISERS, name, (slots, watched))
    fed = weights.feeds["t"]
    weights.step(None, [(0, np.array([7, 999_999, 7, -1000]), np.ones((4, 2), np.float32))])
    assert sizes[-1] == (6, 6, 6 * slots)
    assert weights.feeds["t"] is fed
    assert np.flatnonzero((fed != table).any(axis=1)).tolist() == [7, 999_000, 999_999]


@pytest.mark.parametrize("name", list(OPTIMISERS))
def test_the_bytes_of_weights_hold_all_that_the_next_step_needs(name: str) -> None:
    layout = Layout(DENSE.dense, (("t", np.ones((5, 2), np.float32)),), frozenset({"w"}))
    one, other = weights_of(layout, name), weights_of(layout, name)
    touched = [(0, np.array([1]), np.ones((1, 2), np.float32))]
    one.step(np.arange(6, dtype=np.float32), touched)
    other.unpack(memoryview(one.pack({"t": 2})), {"t": 2})
    for each in (one, other):
        each.step(np.ones(6, np.float32), touched)
    assert one.pack({}) == other.pack({})
    with pytest.raises(ValueError, match="not as long"):
        other.unpack(memoryview(one.pack({})), {"t": 2})
