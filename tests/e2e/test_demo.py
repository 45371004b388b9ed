"""The demo as a user runs it: its figures are those of a plain loop, and nothing is left running."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from flights_loop import plain_loop
from sklearn.metrics import log_loss, roc_auc_score
from thalweg.jobs.demo_flights import load_flights

pytestmark = pytest.mark.cluster
ROWS = 4000


def test_the_figures_are_those_of_a_plain_loop(broker: str) -> None:
    command = [sys.executable, "-m", "thalweg.jobs", "demo", "--rows", str(ROWS), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout.strip().splitlines()[-1])
    whole = load_flights()
    flights = whole.where(np.flatnonzero(whole.month >= 2)[:ROWS])
    scores = plain_loop(flights)
    known = [
        (truth, scores[name])
        for name, truth, labelled in zip(
            flights.table["flight_id"], flights.late.tolist(), flights.labelled.tolist(), strict=True
        )
        if labelled and scores[name] is not None
    ]
    truth, score = zip(*known, strict=True)
    assert figures["compared"] == len(known)
    assert figures["continual"]["roc_auc"] == round(roc_auc_score(truth, score), 4)
    assert figures["continual"]["log_loss"] == round(log_loss(truth, score), 4)
    labelled = int(flights.labelled.sum())
    assert figures["rows"] == ROWS
    assert figures["predictions"] == 2 * ROWS
    assert figures["labels"] == {
        "published": labelled,
        "matched": labelled,
        "expired": ROWS - labelled,
        "pending": 0,
    }
    assert figures["dead_letters"] == 0
    assert "The books balance" in told.stdout


def test_a_replay_in_stream_time_ends_when_every_label_has_come(broker: str) -> None:
    command = [sys.executable, "-m", "thalweg.jobs", "demo", "--rows", "300", "--speedup", "50000", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout.strip().splitlines()[-1])
    labels = figures["labels"]
    assert labels["published"] == labels["matched"] == 300 - labels["expired"]
    assert labels["pending"] == 0
    assert figures["predictions"] == 600
