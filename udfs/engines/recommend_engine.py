"""Recommendation behind the engine protocol: what a user takes next, learned from each event as it comes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import RecordError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score, Value
from thalweg.udfs.engines.recommend_choice import best
from thalweg.udfs.engines.recommend_kernel import Asked, rank
from thalweg.udfs.engines.recommend_learning import choose, follow
from thalweg.udfs.engines.recommend_memory import RecommendState, Visitor
from thalweg.udfs.engines.recommend_settings import DEFAULTS, RecommendSettings, settings_of
from thalweg.udfs.engines.recommend_state import dump_state, restore_state

__all__ = ["RecommendEngine"]

_LATEST = 1 << 52  # ms: the difference of two such times is a whole number in a float
_HEAVIEST = 1000.0
_NOTHING_LEFT = Score(None, None, None, "not_ready", "there is no item that this user has not had")
_new = tuple.__new__


class _Event(NamedTuple):
    user: str
    item: str | None
    time: int
    session: str | None
    weight: float
    features: Sequence[tuple[int, str]]
    context: Sequence[tuple[int, str]]


class RecommendEngine:
    """Recommends what comes next, to everybody, at every event.

    Parameters
    ----------
    spec : EngineSpec
        Task ``next-item``; inputs: user and item (each a text or an integer), the event time in epoch ms, then, if
        there are any, features of the item, each a text such as ``Action|Comedy``, and what the options name. A row
        without an item is a question: what now? Engine options:

        ``top-k`` (10): items in an answer.
        ``half-life`` of popularity (``10 d``).
        ``session-timeout`` (``30 min``): silence after which a session is over.
        ``exclude-seen`` (``true``): what a user has had is not recommended to them; ``false`` where people come back
        for the same.
        ``exploration`` (0): by how much the scores of items that are little known are shaken.
        ``factors`` (16), ``learning-rate`` (0.03) of the factorisation; ``neighbours`` (128) of an item.
        ``max-items`` (10000), ``max-users`` (100000): beyond it goes what was not heard of for longest.
        ``session``, ``weight``: inputs with a session's id, and with how much an event counts (1; at most 1000).
        ``context``: inputs that say where the user is, such as the device, rather than what the item is.
        ``seed`` (0).

    Attributes
    ----------
    learned : int
        How many events the model has learned; part of the dump.

    Notes
    -----
    *Candidates* are the neighbours of what the user had last, the event that is scored first among them; the most
    popular items, each event fading with time; and the newest. Neighbours are items that came next in a session, and
    items that the same user had (item-to-item collaborative filtering: Sarwar et al., WWW 2001; Linden et al., IEEE
    Internet Computing 2003; fading within the session as in Ludewig and Jannach, UMUAI 2018).

    *Ranking*: a log-linear model of these signals plus a factorisation. The user is the faded sum of the vectors of
    what they had and of its features (asymmetric factors: Koren, KDD 2008; features as in factorization machines:
    Rendle, ICDM 2010), so that there is nothing to wait for with a new user, and a new item is known by its features.
    Signals have weights of their own for users known by 0, 1, up to 4, up to 19 and more events. Each event teaches by
    one step of the gradient of the softmax over all candidates.

    *Answer*: ``label`` is the best item, ``score`` its probability among the candidates, ``probabilities`` the top k,
    strictly falling. It looks at nothing but what came before and the event itself: the next one changes it.

    *Exploration* shakes scores by Thompson sampling, seeded by the model's state and the user: asked twice, it answers
    the same.

    *Repeats.* An event that is not newer than the user's newest, with an item that they have had, is a repeat (a retry,
    a replay): it counts as learned and teaches nothing. Other late events are learned as if they came now, but for
    their popularity, which is of their time.

    *Memory* is bounded by ``max-items``, ``max-users`` and 1024 events of each; an item costs about 2.3 kB, a user 8
    bytes an event. No number can run away: vectors and weights are held within bounds.

    Examples
    --------
    >>> from thalweg.udfs.engines.base import Field
    >>> inputs = (Field("user", "string"), Field("item", "string"), Field("ms", "integer"))
    >>> spec = EngineSpec("recommend", "next-item", "recommend", inputs, Field("next", "string"), (("top-k", "2"),))
    >>> engine = RecommendEngine.build(spec)
    >>> for at in range(40):
    ...     for step, item in enumerate(["tent", "stove", "lamp"] if at % 2 else ["pen", "ink", "paper"]):
    ...         engine.learn({"user": f"u{at}", "item": item, "ms": 60_000 * (10 * at + step)})
    >>> camper, writer = ({"user": "new", "item": item, "ms": 24_000_000} for item in ("tent", "pen"))
    >>> [answer.label for answer in engine.score([camper, writer])]
    ['stove', 'ink']
    """

    OPTIONS = tuple(DEFAULTS)

    def __init__(self, spec: EngineSpec, settings: RecommendSettings, state: RecommendState) -> None:
        self.spec = spec
        self._settings, self._state = settings, state
        self._nobody = Visitor()
        self._places: NDArray[np.int64] = np.zeros(settings.top, np.int64)
        self._shares: NDArray[np.float64] = np.zeros(settings.top)
        names = [name for name, _ in spec.inputs]
        self._at = {name: at for at, name in enumerate(names)}
        # Compiled here, or read from the cache, rather than in the first answer.
        self._answer(_Event("", None, 0, None, 1.0, [], []))
        asked = self._asked(self._nobody, 0, -1, [], [])
        choose(asked, -1, 0, 1.0, settings.tune, state.tables, state.desk)
        follow(asked, -1, 0.0, settings.tune, state.tables)

    @classmethod
    def build(cls, spec: EngineSpec) -> RecommendEngine:
        """Return a new model.

        Raises
        ------
        ConfigError
            Everything that is wrong with the spec.
        """
        settings = settings_of(spec)
        return cls(spec, settings, RecommendState(settings))

    @classmethod
    def restore(cls, spec: EngineSpec, blob: bytes) -> RecommendEngine:
        """Return the model that ``dump`` wrote; options that only shape the answer may have changed since.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model than the spec's.
        """
        settings = settings_of(spec)
        return cls(spec, settings, restore_state(settings, blob))

    @property
    def learned(self) -> int:
        """Events learned so far."""
        return self._state.learned

    @property
    def version(self) -> str:
        """Name of this state of the model: the number of events it has learned."""
        return str(self._state.learned)

    def score(self, rows: Sequence[Mapping[str, Value]]) -> list[Score]:
        """Recommend for each row what comes after it, in order; a row that does not fit is refused."""
        answers = []
        for row in rows:
            try:
                answers.append(self._answer(self._take(row)))
            except RecordError as error:
                answers.append(Score(None, None, None, "refused", str(error)))
        return answers

    def learn(self, row: Mapping[str, Value], label: Value = None) -> None:
        """Learn an event, in place; it is its own truth, a label is not looked at.

        Raises
        ------
        RecordError
            The row does not fit; the model is unchanged.
        """
        self._learn(self._take(row))

    def step(self, row: Mapping[str, Value], label: Value = None) -> Score:
        """Recommend what comes after an event, then learn it; raises as ``learn``."""
        event = self._take(row)
        answer = self._answer(event)
        self._learn(event)
        return answer

    def healthy(self) -> bool:
        """Return True: vectors and weights are held within bounds."""
        return True

    def dump(self) -> bytes:
        """Return the model as bytes, the same for the same state."""
        return dump_state(self._settings, self._state)

    def _take(self, row: Mapping[str, Value]) -> _Event:
        settings = self._settings
        found = settings.gate.row(row)
        named = settings.gate.names
        user, item, time = found[named[0]], found.get(named[1]), found[named[2]]
        if not -_LATEST <= time <= _LATEST:
            raise RecordError(f"'{settings.gate.names[2]}' is no time in epoch ms ({time})")
        weight = float(found.get(settings.weight, 1.0))
        if not 0.0 <= weight <= _HEAVIEST:
            raise RecordError(f"'{settings.weight}' is no weight from 0 to {_HEAVIEST:g} ({weight})")
        session = found.get(settings.session)
        features = [
            (self._at[name], part)
            for name in settings.features
            if name in found
            for part in dict.fromkeys(map(str.strip, found[name].split("|")))
            if part
        ]
        return _Event(
            str(user),
            None if item is None else str(item),
            time,
            None if session is None else str(session),
            weight,
            features,
            [(self._at[name], str(found[name])) for name in settings.context if name in found],
        )

    def _asked(self, visitor: Visitor, session: int, current: int, traits: list[int], context: list[int]) -> Asked:
        most = self._state.tables.traits.shape[1]
        own = np.full(most, -1, np.int32)
        own[: len(traits)] = traits[:most]
        return Asked(visitor.history, visitor.length, session, current, own, np.array(context, np.int32))

    def _session(self, visitor: Visitor, event: _Event) -> int:
        """Return how many events of the user belong to the session of an event."""
        if event.session is not None:
            return visitor.session if event.session == visitor.session_id else 0
        return visitor.session if event.time - visitor.last_ms <= self._settings.timeout else 0

    def _answer(self, event: _Event) -> Score:
        settings, state = self._settings, self._state
        visitor = state.users.get(event.user, self._nobody)
        current = -1 if event.item is None else state.items.get(event.item, -2)
        traits = state.rows(event.features) if current == -2 else []
        session, context = self._session(visitor, event), state.rows(event.context)
        asked = self._asked(visitor, session, current, traits, context)
        count = rank(asked, settings.exclude, settings.tune, state.tables, state.desk)
        dice = np.uint64(0)
        if settings.exploration:
            seen = f"{settings.seed} {state.learned} {event.user}".encode("utf-8", "surrogatepass")
            dice = np.uint64(zlib.crc32(seen))
        places, shares = self._places, self._shares
        found = best(count, settings.exploration, dice, state.tables, state.desk, places, shares)
        if not found:
            return _NOTHING_LEFT if state.items else NOT_READY
        chosen = map(state.names.__getitem__, places[:found].tolist())
        ranked = dict(zip(chosen, shares[:found].tolist(), strict=True))
        return _new(Score, (shares.item(0), next(iter(ranked)), ranked, "ok", ""))

    def _learn(self, event: _Event) -> None:
        settings, state = self._settings, self._state
        if event.item is None or state.repeated(event.user, event.item, event.time):
            state.learned += 1
            return
        state.advance(event.time)
        visitor = state.user(event.user)
        visitor.session = self._session(visitor, event)
        context = state.add_rows(event.context)
        known = event.item in state.items
        place = state.item(event.item, state.add_rows(event.features))
        asked = self._asked(visitor, visitor.session, -1, [], context)
        tune, tables, desk = settings.tune, state.tables, state.desk
        if known and event.weight:
            count = rank(asked, settings.exclude, tune, tables, desk)
            choose(asked, place, count, min(event.weight, 5.0), tune, tables, desk)
        follow(asked, place, event.weight, tune, tables)
        visitor.push(int(tables.numbers[place]))
        visitor.session_id = event.session
        visitor.last_ms = event.time if visitor.length == 1 else max(visitor.last_ms, event.time)
        state.learned += 1
