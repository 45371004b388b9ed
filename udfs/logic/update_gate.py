"""Whether an update may serve: held against the version it would replace, on examples that neither has learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from thalweg.udfs.engines.base import EngineSpec, Learner, Score
from thalweg.udfs.logic.examples import Example
from thalweg.udfs.logic.loss import loss_of

__all__ = ["UpdateGate", "Verdict"]

_SLACK = 1e-3  # of a class's log loss, or of the variance of a number: so little is no difference
_SURE = 2.0  # standard errors: with few examples a worse mean can be chance


class Verdict(NamedTuple):
    """What the held-out examples say of an update that is refused.

    Attributes
    ----------
    loss : float
        Mean loss of the update.
    most : float
        What it might have been: the loss of the version before, with the tolerance.
    reason : str
        One sentence.
    """

    loss: float
    most: float
    reason: str


class UpdateGate:
    """Remembers how the version before did on the held-out examples, and judges the next one by it.

    Parameters
    ----------
    spec : EngineSpec
        The model.
    held : sequence of Example
        Recent examples that are learned by neither version.
    tolerance : float
        By what share the mean loss may be higher.
    """

    def __init__(self, spec: EngineSpec, held: Sequence[Example], tolerance: float) -> None:
        self._spec, self._held, self._tolerance = spec, held, tolerance
        names = [name for name, _ in spec.inputs]
        self._rows = [dict(zip(names, example.values, strict=True)) for example in held]
        self._before: list[float | None] = []

    def look(self, engine: Learner) -> None:
        """Note how the version that serves does, before it is changed."""
        self._before = self._losses(engine.score(self._rows))

    def judge(self, engine: Learner) -> Verdict | None:
        """Return why an update must not serve; None where it may.

        An update is refused where its mean loss is higher than that of the version before by more than the tolerance,
        and that by more than two standard errors of the differences, or where it has no answer to an example that
        the version before has answered.
        """
        after = self._losses(engine.score(self._rows))
        pairs = [(old, new) for old, new in zip(self._before, after, strict=True) if old is not None]
        if not pairs:
            return None
        mean = math.fsum(old for old, _ in pairs) / len(pairs)
        most = mean * (1 + self._tolerance) + self._slack()
        dumb = sum(new is None for _, new in pairs)
        if dumb:
            what = f"it has no answer to {dumb} of {len(pairs)} held-out examples that the version before answers."
            return Verdict(float(dumb), most, what)
        worse = [(new or 0.0) - old * (1 + self._tolerance) - self._slack() for old, new in pairs]
        excess = math.fsum(worse) / len(worse)
        spread = math.fsum((each - excess) ** 2 for each in worse) / max(len(worse) - 1, 1)
        if not excess > _SURE * math.sqrt(spread / len(worse)):
            return None
        loss = excess + most
        what = (
            f"its mean loss is {loss:.4g} on {len(pairs)} held-out examples, and that of the version before {mean:.4g};"
            f" 'update-gate' allows {most:.4g}."
        )
        return Verdict(loss, most, what)

    def _losses(self, scores: Sequence[Score]) -> list[float | None]:
        found = [loss_of(self._spec, score, each.label) for score, each in zip(scores, self._held, strict=True)]
        return [loss if loss is not None and math.isfinite(loss) else None for loss in found]

    def _slack(self) -> float:
        if self._spec.task == "classification":
            return _SLACK
        numbers = [float(each.label) for each in self._held]
        centre = math.fsum(numbers) / len(numbers)
        return _SLACK * math.fsum((number - centre) ** 2 for number in numbers) / len(numbers)
