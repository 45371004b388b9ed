"""The loops of recommendation: which items may come next, and how much speaks for each.

All tables are indexed by an item's place. A reference to an item elsewhere (in histories and lists of neighbours) is
its number, whose last 20 bits are the place: when that goes to another item, older references lead nowhere.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["NEWEST", "PLACES", "RECENT", "SIGNALS", "STAGES", "Asked", "Desk", "Tables", "place_of", "rank", "stage_of"]

SIGNALS = 6
STAGES = 5
NEWEST = 32  # of the listed items
RECENT = 10  # events that "next after" looks back
_RARE = -4.0  # logarithm of the popularity of an item, by that of the mean one, that counts at least
_LEAST_NEXT, _LEAST_WITH = 1e-3, 1e-2  # where the logarithms of either co-visitation begin
PLACES = (1 << 20) - 1  # bits of a number


class Tables(NamedTuple):
    """What has been learned, as arrays.

    Attributes
    ----------
    numbers : array of int64, shape (items,)
        Number of the item in each place.
    counts : array of float64, shape (items, 6)
        Popularity that fades, events, events that came next after it; and of these for speed: logarithm of the
        popularity, logarithm of the events, and what the strength of a tie to it is multiplied with.
    vectors : array of float32, shape (items, 2 * factors + 1)
        As what was seen, as what comes next, and how often beyond what the signals say.
    traits : array of int32, shape (items, 8)
        Rows in ``tastes`` of the item's features; -1, none.
    near : array of int64, shape (items, neighbours)
        Numbers of items seen with it.
    ties : array of float32, shape (items, neighbours, 2)
        How often next after it, and how often by the same user.
    held : array of int32, shape (items,)
        How many neighbours there are.
    lists : array of int64
        Numbers of the most popular items and of the newest; -1, none.
    tastes : array of float32, shape (traits, 2 * factors + 1)
        As ``vectors``, of features and contexts.
    weights : array of float64, shape (2, stages, signals)
        Of the signals, by how much is known of the user; and the sums of their squared gradients.
    clock : array of float64, shape (3,)
        What an event adds to the popularity now, the sum of all popularities, and how many items there are.
    """

    numbers: Any
    counts: Any
    vectors: Any
    traits: Any
    near: Any
    ties: Any
    held: Any
    lists: Any
    tastes: Any
    weights: Any
    clock: Any


class Desk(NamedTuple):
    """Room to work in; nothing in it outlasts a call, but that marks only grow."""

    marks: Any
    sums: Any
    chosen: Any
    signals: Any
    scores: Any
    query: Any
    liking: Any
    heat: Any


class Asked(NamedTuple):
    """The question what comes next.

    Attributes
    ----------
    history : array of int64
        Numbers of what the user has seen, the newest last.
    length, session : int
        How much of it there is, and how much of that is of this session.
    current : int
        Place of what the user looks at beyond the history; -1, nothing; -2, an item that is not known.
    traits : array of int32, shape (8,)
        Features of an item that is not known.
    context : array of int32
        Rows in ``tastes``; -1, none.
    """

    history: Any
    length: int
    session: int
    current: int
    traits: Any
    context: Any


@compiled
def place_of(number: int, numbers: Any) -> int:
    """Return the place of an item by its number; -1, it has been forgotten."""
    place = number & PLACES
    return place if number >= 0 and place < len(numbers) and numbers[place] == number else -1


@compiled
def stage_of(seen: int) -> int:
    """Return how well a user is known: by nothing, 1 event, up to 4, up to 19, more."""
    if seen < 2:
        return seen
    return 2 if seen < 5 else (3 if seen < 20 else 4)


@compiled
def _candidate(place: int, mark: int, desk: Any, count: int) -> int:
    """Make an item a candidate if it is none yet; return how many there are."""
    if desk.marks[place] == mark:
        return count
    desk.marks[place] = mark
    desk.chosen[count] = place
    desk.sums[place, 0] = desk.sums[place, 1] = 0.0
    return count + 1


@compiled
def _look_back(asked: Any, tune: Any, t: Any, desk: Any, mark: int) -> int:
    """Collect neighbours of what was seen, and what the user likes; return how many candidates there are."""
    factors = (t.vectors.shape[1] - 1) // 2
    query, liking = desk.query, desk.liking
    query[:] = 0.0
    liking[:] = 0.0
    begin = 0 if asked.current == -1 else -1
    session = asked.session - begin
    count, total, fade_next, fade_with = 0, 0.0, 1.0, 1.0
    for back in range(min(asked.length - begin, int(tune[3]))):
        at = back + begin
        place = asked.current if at < 0 else place_of(asked.history[asked.length - 1 - at], t.numbers)
        own = asked.traits
        if place >= 0:
            own = t.traits[place]
            here, beside = fade_next / (t.counts[place, 2] + 2.0), fade_with * t.counts[place, 5]
            inside = back < min(session, RECENT)
            for at in range(t.held[place]):
                other = place_of(t.near[place, at], t.numbers)
                if other < 0 or desk.marks[other] > mark:
                    continue
                count = _candidate(other, mark, desk, count)
                if inside:
                    desk.sums[other, 0] += here * t.ties[place, at, 0]
                desk.sums[other, 1] += beside * t.ties[place, at, 1] * t.counts[other, 5]
            for k in range(factors):
                query[k] += fade_with * t.vectors[place, k]
        if place != -1:
            many = 0
            for at in range(len(own)):
                many += own[at] >= 0
            for at in range(many):
                liking[own[at]] += fade_with / many
                for k in range(factors):
                    query[k] += fade_with * t.tastes[own[at], k] / many
            total += fade_with
        fade_next *= tune[0]
        fade_with *= tune[1]
    query[factors] = total
    if total > 0.0:
        for k in range(factors):
            query[k] /= math.sqrt(total)
        for trait in range(len(liking)):
            liking[trait] /= total
    for at in range(len(asked.context)):
        if asked.context[at] >= 0:
            for k in range(factors):
                query[k] += t.tastes[asked.context[at], k]
    return count


@compiled
def rank(asked: Any, exclude: bool, tune: Any, t: Any, desk: Any) -> int:
    """Find the candidates and score them.

    Parameters
    ----------
    asked : Asked
        The question.
    exclude : bool
        Whether what the user has seen is no candidate.
    tune : array of float64
        What is left of the weight of an event with each later one, for "next after" and for "seen with"; and how far
        to look back.
    t : Tables
        What has been learned.
    desk : Desk
        Gets the candidates, their signals and scores, and in ``query`` the user's vector and the sum of its weights.

    Returns
    -------
    int
        How many candidates there are.
    """
    factors = (t.vectors.shape[1] - 1) // 2
    marks, signals = desk.marks, desk.signals
    mark = marks[len(marks) - 1] + 2
    marks[len(marks) - 1] = mark
    # What must not be recommended has a mark above that of candidates.
    if asked.current >= 0:
        marks[asked.current] = mark + 1
    if exclude:
        for at in range(asked.length):
            place = place_of(asked.history[at], t.numbers)
            if place >= 0:
                marks[place] = mark + 1
    count = _look_back(asked, tune, t, desk, mark)
    for at in range(len(t.lists)):
        place = place_of(t.lists[at], t.numbers)
        if place >= 0 and marks[place] <= mark:
            count = _candidate(place, mark, desk, count)
    for trait in range(len(desk.heat)):
        desk.heat[trait] = t.tastes[trait, 2 * factors]
        for k in range(factors):
            desk.heat[trait] += desk.query[k] * t.tastes[trait, factors + k]
    weights = t.weights[0, stage_of(asked.length + (asked.current != -1))]
    usual = math.log(t.clock[1] / max(t.clock[2], 1.0) + 1e-300)
    for at in range(count):
        place = desk.chosen[at]
        next_after, seen_with = desk.sums[place, 0], desk.sums[place, 1]
        signals[at, 0] = max(t.counts[place, 3] - usual, _RARE)
        signals[at, 1] = t.counts[place, 4]
        signals[at, 2] = math.log(next_after / _LEAST_NEXT + 1.0) if next_after > 0.0 else 0.0
        signals[at, 3] = math.log(seen_with / _LEAST_WITH + 1.0) if seen_with > 0.0 else 0.0
        signals[at, 4] = desk.sums[place, 1]
        liked, score, many = 0.0, float(t.vectors[place, 2 * factors]), 0
        for part in range(t.traits.shape[1]):
            many += t.traits[place, part] >= 0
        for part in range(many):
            liked += desk.liking[t.traits[place, part]]
            score += desk.heat[t.traits[place, part]] / many
        signals[at, 5] = liked
        for k in range(factors):
            score += desk.query[k] * t.vectors[place, factors + k]
        for signal in range(SIGNALS):
            score += weights[signal] * signals[at, signal]
        desk.scores[at] = score
    return count
