"""A model that was built from one spec and is to go on under another: kept, begun anew, or refused."""

from __future__ import annotations

from typing import cast

from thalweg.connector.errors import SnapshotError, ThalwegError
from thalweg.udfs.engines import engine_class, restore
from thalweg.udfs.engines.base import EngineSpec, Learner

__all__ = ["revise"]

_CHOICE = (
    "Go back to the old declaration, give the model another name, or say what is to become of what it has learned:"
    " 'on-spec-change' = 'keep' (goes on where the change allows it) or 'reset' (begins anew)."
)


def revise(old: EngineSpec | None, new: EngineSpec, blob: bytes, policy: str) -> Learner | None:
    """Return the model in ``blob`` under its new spec.

    Parameters
    ----------
    old : EngineSpec or None
        What it was built from; None where nobody knows.
    new : EngineSpec
        What it shall be.
    blob : bytes
        What the engine's ``dump`` wrote.
    policy : str
        ``keep``: goes on with all it has learned if the change allows it, as River does for some hyper-parameters;
        ``reset``: None, so that it begins anew; ``fail``: an error. A change that needs nothing of all that, such as
        that of ``on-null``, passes under each.

    Raises
    ------
    SnapshotError
        It cannot go on, or the bytes are damaged; the error spells out the choice.
    """
    try:
        return cast("Learner", restore(new, blob))
    except SnapshotError as error:
        if policy == "reset":
            return None
        if policy == "fail" or old is None:
            raise SnapshotError(f"{error} {_CHOICE}") from error
        adopt = getattr(engine_class(new.kind), "adopt", None) if old.kind == new.kind else None
        if adopt is None:
            why = f"the engine '{new.kind}' cannot change a model that has learned."
            raise SnapshotError(f"{error} With 'on-spec-change' = 'keep': {why} {_CHOICE}") from error
        try:
            return cast("Learner", adopt(old, blob, new))
        except ThalwegError as refusal:
            raise SnapshotError(f"With 'on-spec-change' = 'keep': {refusal} {_CHOICE}") from refusal
