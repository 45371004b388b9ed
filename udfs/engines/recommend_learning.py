"""The loops of recommendation that learn: what one event says of all that could have come instead."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_compile import compiled
from thalweg.udfs.engines.recommend_kernel import NEWEST, RECENT, place_of, stage_of

__all__ = ["choose", "follow"]

_PRIOR = 3.0  # events that each item is thought to have had beside its own
_LONGEST, _HEAVIEST = 10.0, 20.0  # of the parts of a vector, and of the weights of signals
_HALVE = 4096.0  # events of an item after which all that is known of its company counts half


@compiled
def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)


@compiled
def choose(asked: Any, chosen: int, count: int, weight: float, tune: Any, t: Any, desk: Any) -> None:
    """Learn that of the candidates on the desk one was chosen: a step of the gradient of the softmax over them."""
    factors = (t.vectors.shape[1] - 1) // 2
    rate, decay = tune[4] * weight, tune[5]
    total, most, found = 0.0, -math.inf, -1
    for at in range(count):
        most = max(most, desk.scores[at])
        if desk.chosen[at] == chosen:
            found = at
    if found < 0:
        return
    for at in range(count):
        total += math.exp(desk.scores[at] - most)
    slopes, heat, pull = np.zeros(desk.signals.shape[1]), desk.heat, np.zeros(factors)
    heat[:] = 0.0
    query = desk.query
    for at in range(count):
        off = (1.0 if at == found else 0.0) - math.exp(desk.scores[at] - most) / total
        for signal in range(len(slopes)):
            slopes[signal] += off * desk.signals[at, signal]
        vector = t.vectors[desk.chosen[at]]
        for k in range(factors):
            old = vector[factors + k]
            pull[k] += off * old
            vector[factors + k] = _within(old + rate * (off * query[k] - decay * abs(off) * old), _LONGEST)
        often = vector[2 * factors]
        vector[2 * factors] = _within(often + rate * (off - decay * abs(off) * often), _LONGEST)
        own, many = t.traits[desk.chosen[at]], 0
        for part in range(len(own)):
            many += own[part] >= 0
        for part in range(many):
            heat[own[part]] += off / many
    for trait in range(len(heat)):
        if heat[trait] != 0.0:
            taste = t.tastes[trait]
            for k in range(factors):
                old = taste[factors + k]
                pull[k] += heat[trait] * old
                step = rate * (heat[trait] * query[k] - decay * abs(heat[trait]) * old)
                taste[factors + k] = _within(old + step, _LONGEST)
            often = taste[2 * factors]
            taste[2 * factors] = _within(often + rate * (heat[trait] - decay * abs(heat[trait]) * often), _LONGEST)
    stage = stage_of(asked.length)
    for signal in range(len(slopes)):
        t.weights[1, stage, signal] += slopes[signal] ** 2
        step = tune[6] * weight * slopes[signal] / math.sqrt(t.weights[1, stage, signal])
        t.weights[0, stage, signal] = _within(t.weights[0, stage, signal] + step, _HEAVIEST)
    _pull(asked, pull, rate, decay, tune, t, query[factors])


@compiled
def _pull(asked: Any, pull: Any, rate: float, decay: float, tune: Any, t: Any, total: float) -> None:
    """Move what made the query: the items that were seen, their features, and the context."""
    factors = len(pull)
    for at in range(len(asked.context)):
        if asked.context[at] >= 0:
            taste = t.tastes[asked.context[at]]
            for k in range(factors):
                taste[k] = _within(taste[k] + rate * (pull[k] - decay * taste[k]), _LONGEST)
    fade = 1.0 / math.sqrt(total) if total > 0.0 else 0.0
    for back in range(min(asked.length, int(tune[3]))):
        place = place_of(asked.history[asked.length - 1 - back], t.numbers)
        if place >= 0:
            vector, own, many = t.vectors[place], t.traits[place], 0
            for part in range(len(own)):
                many += own[part] >= 0
            for k in range(factors):
                vector[k] = _within(vector[k] + rate * fade * (pull[k] - decay * vector[k]), _LONGEST)
            for part in range(many):
                taste = t.tastes[own[part]]
                for k in range(factors):
                    taste[k] = _within(taste[k] + rate * fade / many * (pull[k] - decay * taste[k]), _LONGEST)
        fade *= tune[1]


@compiled
def _tie(place: int, number: int, kind: int, weight: float, t: Any) -> None:
    """Count that an item was seen next after another or with it; the loosest tie makes room."""
    near, ties, held = t.near[place], t.ties[place], t.held[place]
    least, at = math.inf, 0
    for slot in range(held):
        if near[slot] == number:
            ties[slot, kind] += weight
            return
        strength = ties[slot, 0] + ties[slot, 1]
        if strength < least:
            least, at = strength, slot
    if held < len(near):
        at = held
        t.held[place] = held + 1
    near[at] = number
    ties[at, 0] = ties[at, 1] = 0.0
    ties[at, kind] = weight


@compiled
def follow(asked: Any, chosen: int, weight: float, tune: Any, t: Any) -> None:
    """Count an event: popularity, what it came next after, and what it was seen with."""
    if chosen < 0:
        return
    t.counts[chosen, 0] += weight * t.clock[0]
    t.clock[1] += weight * t.clock[0]
    t.counts[chosen, 1] += weight
    if t.counts[chosen, 1] > _HALVE:
        t.counts[chosen, 1] /= 2.0
        t.counts[chosen, 2] /= 2.0
        t.ties[chosen] /= 2.0
    t.counts[chosen, 3] = math.log(t.counts[chosen, 0] + 1e-300)
    t.counts[chosen, 4] = math.log(t.counts[chosen, 1] + 1.0)
    t.counts[chosen, 5] = 1.0 / math.sqrt(t.counts[chosen, 1] + _PRIOR)
    fade_next = fade_with = weight
    for back in range(min(asked.length, int(tune[7]))):
        place = place_of(asked.history[asked.length - 1 - back], t.numbers)
        if place >= 0 and place != chosen:
            if back < min(asked.session, RECENT):
                _tie(place, t.numbers[chosen], 0, fade_next, t)
                t.counts[place, 2] += fade_next
            _tie(place, t.numbers[chosen], 1, fade_with, t)
            _tie(chosen, t.numbers[place], 1, fade_with, t)
        fade_next *= tune[0]
        fade_with *= tune[2]
    _list(chosen, t)


@compiled
def _list(chosen: int, t: Any) -> None:
    """Keep the most popular items listed: all fade alike, so only the one that was chosen can rise."""
    number, least, at = t.numbers[chosen], math.inf, 0
    for slot in range(len(t.lists) - NEWEST):
        if t.lists[slot] == number:
            return
        place = place_of(t.lists[slot], t.numbers)
        strength = t.counts[place, 0] if place >= 0 else -1.0
        if strength < least:
            least, at = strength, slot
    if t.counts[chosen, 0] > least:
        t.lists[at] = number
