"""The figures of ``thalweg demo``: a frozen and a continual model on the same departures, in one job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Run the demo as a user would and return its JSON; progress goes to stderr."""
    command = [sys.executable, "-m", "thalweg.jobs", "demo", "--json"]
    command += [] if rows is None else ["--rows", str(rows)]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return {"benchmark": "demo", **json.loads(told.strip().splitlines()[-1])}
