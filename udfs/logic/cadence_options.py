"""The options of models that learn in updates, held against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thalweg.udfs.logic.options import EVERY_EVENT

__all__ = ["check_cadence"]


def check_cadence(
    options: Mapping[str, str], values: Mapping[str, Any], wrong: Callable[[str, str, str], None]
) -> None:
    """Hold the options of updates against the cadence.

    Parameters
    ----------
    options : mapping of str to str
        Those that are given.
    values : mapping of str to Any
        The options, read.
    wrong : callable
        Takes an option, what is wrong with it, and the remedy.
    """
    if values["cadence"] == EVERY_EVENT:
        for option in ("retrain", "replay-size", "replay-ratio", "update-gate", "buffer-size"):
            if option in options:
                what = "is given, and the model learns from every event at once."
                wrong(option, what, "Add a 'cadence' such as '1 h', or remove it.")
        return
    if values["on-drift"] != "none":
        wrong("on-drift", "is given with a 'cadence' other than 'every-event'.", "Give 'cadence' = 'on-drift' instead.")
    if values["prior"] == "global":
        wrong("prior", "is given with a 'cadence' other than 'every-event'.", "Remove one of the two.")
    if values["label"] is None:
        wrong("cadence", "is given without 'label': there is nothing that could wait.", "Remove it, or name the label.")
    if not values["replay-size"]:
        if values["retrain"] == "stateless":
            wrong(
                "retrain", "begins anew from old examples, and none are kept.", "Give 'replay-size', such as '10000'."
            )
        if values["replay-ratio"]:
            wrong("replay-ratio", "is given, and no old examples are kept.", "Give 'replay-size', such as '10000'.")
