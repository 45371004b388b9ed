"""Where a key's model comes from while it has none, or too little, of its own.

A key that is new starts from its last snapshot, if somebody has one; from the prior, a model that learns from every key
of the shard and itself starts from the snapshot of the shared model; without a prior from that snapshot; or from
nothing. The prior is cloned when the key learns its first example, and blended with the key's own answers, by the share
of examples that it has, until it has enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from thalweg.udfs.engines import build, check_whole, restore
from thalweg.udfs.engines.base import EngineSpec, Learner, Score
from thalweg.udfs.logic.cell import Cell
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.revision import revise

__all__ = ["Kept", "Lookup", "Origins", "blend"]

_KEEP_WARM = 1000


class Kept(NamedTuple):
    """A model that was published: the JSON of its spec, and what the engine's ``dump`` wrote.

    It has learned all rows before ``until_ms``, by their own time.
    """

    spec: str
    blob: bytes
    until_ms: int = NEVER


class Lookup(Protocol):
    """Finds the last published model of each of some keys; a key that has none is left out."""

    def __call__(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        """Return what was found."""
        ...


def blend(own: Score, prior: Score, weight: float) -> Score:
    """Return the answer between a key's own model and the prior.

    Parameters
    ----------
    own, prior : Score
        Two answers to one row. Where one of them is no answer, it is the other one.
    weight : float
        Share of the own answer, 0 to 1.

    Examples
    --------
    >>> blend(Score(0.9, "true"), Score(0.2, "false"), 0.25)
    Score(score=0.375, label='false', probabilities=None, status='ok', reason='')
    >>> blend(Score(0.6, "a", {"a": 0.6, "b": 0.4}), Score(1.0, "c", {"c": 1.0}), 0.5).label
    'c'
    """
    if own.score is None or prior.score is None:
        return prior if own.score is None else own
    if own.probabilities is not None and prior.probabilities is not None:
        names = {**own.probabilities, **prior.probabilities}
        shares = {
            name: weight * own.probabilities.get(name, 0.0) + (1.0 - weight) * prior.probabilities.get(name, 0.0)
            for name in names
        }
        best = max(shares, key=shares.__getitem__)
        return Score(shares[best], best, shares)
    score = weight * own.score + (1.0 - weight) * prior.score
    label = own.label
    if label is not None:
        label = "true" if score > 1.0 - score else "false"
    return Score(score, label)


class Origins:
    """Gives cold keys their models, and answers for them.

    Parameters
    ----------
    spec : EngineSpec
        The model that every key gets.
    strength : int or None
        How many examples of its own a key needs until the prior is out of its answers; None: there is no prior.
    lookup : Lookup or None
        Where published models are found.
    policy : str
        What becomes of one that was built from another spec, as in ``revise``.
    """

    def __init__(self, spec: EngineSpec, strength: int | None, lookup: Lookup | None, policy: str) -> None:
        self._spec, self.strength, self._lookup, self._policy = spec, strength, lookup, policy
        self._nothing: Learner | None = None
        self._warm: dict[str, Learner | None] = {}
        self._until: dict[str, int] = {}
        self.prior: Cell | None = None

    def begin(self, cold: Sequence[str], prior: Callable[[], Cell | None]) -> None:
        """Get ready for a block of rows: look for the models of its cold keys, and take the shard's prior.

        Parameters
        ----------
        cold : sequence of str
            Keys of the block that have no model.
        prior : callable
            Returns the shard's prior from state; it is called where there is a prior at all.
        """
        if self.strength is not None:
            self.prior = prior() or Cell()
        if self._lookup is None or not cold:
            return
        if len(self._warm) > _KEEP_WARM:
            self._warm.clear()
            self._until.clear()
        wanted = [key for key in {"": None, **dict.fromkeys(cold)} if key not in self._warm]
        found = self._lookup(wanted) if wanted else {}
        for key in wanted:
            kept = found.get(key)
            self._warm[key] = None if kept is None else self._revised(kept)
            if kept is not None and self._warm[key] is not None:
                self._until[key] = kept.until_ms
        shared = self._warm.get("")
        if self.prior is not None and self.prior.empty() and shared is not None:
            self.prior.fill(self._spec, cast("Learner", restore(self._spec, shared.dump())))

    def _revised(self, kept: Kept) -> Learner | None:
        found = revise(EngineSpec.from_json(kept.spec), self._spec, kept.blob, self._policy)
        if found is not None:
            check_whole(found)
        return found

    def answering(self, key: str) -> Learner:
        """Return the model that answers for a key without one. It must not learn."""
        warm = self._warm.get(key)
        if warm is not None:
            return warm
        if self.prior is not None and not self.prior.empty():
            # It began as the shared snapshot, if there is one, and has gone on learning since.
            return self.prior.engine(self._spec)
        if (shared := self._warm.get("")) is not None:
            return shared
        if self._nothing is None:
            self._nothing = cast("Learner", build(self._spec))
        return self._nothing

    def has_learned(self, key: str, time_ms: int) -> bool:
        """Return whether the published model that answers for a key without one has learned a row of that time."""
        return time_ms < self._until.get(key, self._until.get("", NEVER))

    def start(self, key: str, cell: Cell) -> None:
        """Put into an empty cell the model with which its key begins to learn, a copy of the one that answered."""
        origin = self.answering(key)
        if origin is self._nothing:
            cell.fill(self._spec)
        else:
            cell.fill(self._spec, cast("Learner", restore(self._spec, origin.dump())))
        self._until.pop(key, None)
        self._warm.pop(key, None)  # from here on the key's own snapshots are newer

    def blended(self, cell: Cell, row: Mapping[str, Any], own: Score, learned: int) -> Score:
        """Return a key's answer, with the prior in it as far as the key has too few examples of its own.

        Parameters
        ----------
        cell : Cell
            The key's; not empty.
        row : mapping
            What was asked.
        own : Score
            What the key's model answered.
        learned : int
            Examples that model had learned, the inherited ones among them.
        """
        examples = learned - cell.inherited
        if self.prior is None or self.strength is None or examples >= self.strength or self.prior.empty():
            return own
        return blend(own, self.prior.engine(self._spec).score((row,))[0], examples / self.strength)
