"""Who will buy? 12,330 sessions of an online shop, month by month: a model that goes on learning beside a frozen one.

Test, then learn: a session is scored, and then its outcome is learned, in the order of the file within a month. The
data are ``online-shoppers.csv.xz`` (Sakar et al., 2018, UCI), whose sessions are finished: a row holds what the recipe
``funnel`` counts with its windows at the last click of a session. The model has the form of the recipe's. It learns
February and March, and what is judged comes after: ``roc_auc`` and ``ece`` of the one that goes on, ``frozen_roc_auc``
and ``frozen_ece`` of the one that stays as it was when March was over. ``whole_roc_auc`` and ``whole_ece`` judge the
first of them from the first session on, when it had not learned anything.

The pure machine of the learning operator in one loop, without Flink: the same code, and the same answers.
"""

from __future__ import annotations

import csv
import lzma
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

FILE = "online-shoppers.csv.xz"
MONTHS = ("Feb", "Mar", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LEARNED = ("Feb", "Mar")  # all that the frozen model has seen
NUMBERS = (
    "page_value", "valued", "exits", "bounces", "products", "product_s", "account_pages", "account_s", "information",
    "special_day", "is_new", "weekend",
)  # fmt: skip
TEXTS = ("traffic", "month")


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return area under the ROC curve and calibration error of both; ``rows`` is how many sessions are taken."""
    if data is None or not (data / FILE).exists():
        raise click.UsageError(f"--data names no folder with {FILE}")
    sessions = read(data / FILE)[:rows]
    begin = sum(features["month"] in LEARNED for features, _ in sessions)
    if begin == len(sessions):
        raise click.UsageError(f"--rows ends in {LEARNED[-1]}, and what is judged comes later: take more than {begin}")
    _say(f"{len(sessions):,} sessions, {begin:,} of them in {' and '.join(LEARNED)}")
    going_on, frozen = _played(sessions, len(sessions)), _played(sessions, begin)
    figures: dict[str, Any] = {"benchmark": "funnel", "sessions": len(sessions), "judged": len(sessions) - begin}
    truth = [bought for _, bought in sessions]
    for prefix, scores, first in (("", going_on, begin), ("frozen_", frozen, begin), ("whole_", going_on, 0)):
        area, error = measured(scores[first:], truth[first:])
        figures |= {f"{prefix}roc_auc": round(area, 4), f"{prefix}ece": round(error, 4)}
    for month in MONTHS[2:]:
        at = [n for n, (features, _) in enumerate(sessions) if features["month"] == month]
        if at:
            pair = [measured([way[n] for n in at], [truth[n] for n in at])[0] for way in (going_on, frozen)]
            _say(f"{month}: {len(at):,} sessions, ROC AUC {pair[0]:.4f}, frozen {pair[1]:.4f}")
    return figures


def read(path: Path) -> list[tuple[dict[str, Any], bool]]:
    """Return features and whether somebody bought, of each session, by month and within one as in the file."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        found = [(_features(line), line["Revenue"] == "TRUE") for line in csv.DictReader(lines, delimiter=";")]
    return sorted(found, key=lambda row: MONTHS.index(row[0]["month"]))


def _features(line: dict[str, str]) -> dict[str, Any]:
    def log(name: str) -> float:
        return math.log1p(float(line[name]))

    return {
        "page_value": log("PageValues"),
        "valued": float(float(line["PageValues"]) > 0),
        "exits": log("ExitRates"),
        "bounces": log("BounceRates"),
        "products": log("ProductRelated"),
        "product_s": log("ProductRelated_Duration"),
        "account_pages": log("Administrative"),
        "account_s": log("Administrative_Duration"),
        "information": log("Informational"),
        "special_day": float(line["SpecialDay"]),
        "is_new": float(line["VisitorType"] == "New_Visitor"),
        "weekend": float(line["Weekend"] == "TRUE"),
        "traffic": line["TrafficType"],
        "month": line["Month"],
    }


def _spec() -> Any:
    from thalweg.udfs.engines.base import EngineSpec, Field

    numbers, texts = (", ".join(map(repr, names)) for names in (NUMBERS, TEXTS))
    model = (
        f"(compose.Select({numbers}) | preprocessing.StandardScaler()) + (compose.Select({texts})"
        " | preprocessing.OneHotEncoder(drop_zeros=True)) | linear_model.LogisticRegression(optim.SGD(0.02))"
    )
    fields = [Field(name, "number") for name in NUMBERS] + [Field(name, "string") for name in TEXTS]
    return EngineSpec("river", "classification", model, tuple(fields), Field("bought", "boolean"))


def _played(sessions: Sequence[tuple[dict[str, Any], bool]], learned: int) -> list[float]:
    """Return the score of each session by a model that learns the first so many; a half where it is not ready."""
    from thalweg.udfs.logic.learning import SCORE, STEP

    from tests.played_rows import played

    rows = [
        (STEP if n < learned else SCORE, "", str(n), n, n, bought if n < learned else None,
         *(features[name] for name in (*NUMBERS, *TEXTS)))
        for n, (features, bought) in enumerate(sessions)
    ]  # fmt: skip
    answers = played(_spec(), rows)
    scores = [answers[str(n)].score for n in range(len(sessions))]
    return [0.5 if score is None else score for score in scores]


def measured(scores: Sequence[float], truth: Sequence[bool]) -> tuple[float, float]:
    """Return area under the ROC curve and expected calibration error."""
    from sklearn.metrics import roc_auc_score
    from thalweg.udfs.logic.calibration import BINS, add_to_bins, calibration_error

    bins = np.zeros((3, BINS))
    add_to_bins(bins, np.array(scores), np.array(truth, dtype=float), np.ones(len(scores)))
    return float(roc_auc_score(truth, scores)), calibration_error(bins) or 0.0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
