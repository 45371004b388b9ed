"""Millions of spoilt inputs to everything that reads what comes from outside.

Each target runs in a process of its own with bounds on time and memory per input. Whatever an input does but being
read, or being refused by one of the project's own errors with a sentence, is a finding: it is kept in the folder that
is named, and counted. Nothing is measured.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SILENCE_S = 60.0  # a child says something every second, unless an input holds it where no alarm reaches
_KINDS = {"crash": "crashes", "hang": "hangs", "oversized": "oversized"}


def run(data: Path | None, rows: int | None, cases: str | None = None, minutes: float = 10.0) -> dict[str, Any]:
    """Try all targets, or those that begin with one of ``cases``, for ``minutes`` together, or ``rows`` inputs each."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import fuzz_child  # noqa: F401  before the first fork, as are the readers
    from fuzz_targets import targets

    names = [name for name in targets() if not cases or name.startswith(tuple(cases.split(",")))]
    folder = Path(tempfile.mkdtemp(prefix="thalweg-fuzz-"))
    seed, share_s = int(time.time()), minutes * 60 / len(names)
    by_target: dict[str, Any] = {}
    for at, name in enumerate(names, 1):
        by_target[name] = found = _one(name, seed, share_s, rows or 10**12, folder)
        told = {word: found[kind] for kind, word in _KINDS.items()}
        print(f"{at}/{len(names)} {name}: {found['inputs']:,} inputs {told}", file=sys.stderr, flush=True)
        for what in found.get("found", ()):
            print(f"    {what}", file=sys.stderr, flush=True)
    sums = {word: sum(found[kind] for found in by_target.values()) for kind, word in _KINDS.items()}
    inputs = sum(found["inputs"] for found in by_target.values())
    return {"inputs": inputs, **sums, "seed": seed, "folder": str(folder), "targets": by_target}


def _one(name: str, seed: int, seconds: float, count: int, folder: Path) -> dict[str, Any]:
    """Run the child of a target until its time is over; what ends it is a finding, and another one goes on."""
    figures: dict[str, Any] = dict.fromkeys(("inputs", "ok", "refused", *_KINDS), 0) | {"found": []}
    end, again = time.monotonic() + seconds, 0
    while again == 0 or (end - time.monotonic() > 2 and again < 20):
        left = seconds if again == 0 else end - time.monotonic()
        last, ended = _child(name, seed + again, left, count - figures["inputs"], folder)
        for key in figures.keys() - {"found"}:
            figures[key] += last.get(key, 0)
        figures["found"] += last.get("found", [])
        again += 1
        if ended is None:
            break
        figures["crash" if ended != "hang" else "hang"] += 1
        if not (folder / f"{name}.at").exists():
            raise SystemExit(f"The examples of '{name}' cannot be read: run tests/test_fuzz.py.")
        kept = folder / f"{name}.{ended.replace(' ', '-')}.{again}"
        raw = (folder / f"{name}.at").read_bytes()
        kept.write_bytes(raw[16 : 16 + min(int.from_bytes(raw[:8], "big"), len(raw))])
        figures["found"].append(f"{ended}: {kept}")
    (folder / f"{name}.at").unlink(missing_ok=True)
    return figures


def _child(name: str, seed: int, seconds: float, count: int, folder: Path) -> tuple[dict[str, Any], str | None]:
    """Return the last figures of a child, and how it was ended if not by itself."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            from fuzz_child import main

            main(name, seed, seconds, count, folder, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    try:
        return _heard(reading, child)
    finally:
        os.close(reading)


def _heard(reading: int, child: int) -> tuple[dict[str, Any], str | None]:
    """Follow what a child says until it ends, or is silent and is ended."""
    last, heard, rest = {}, time.monotonic(), b""
    while True:
        if select.select([reading], [], [], 1.0)[0]:
            part = os.read(reading, 65536)
            if not part:
                break
            *lines, rest = (rest + part).split(b"\n")
            last = json.loads(lines[-1]) if lines else last
            heard = time.monotonic()
        elif time.monotonic() - heard > _SILENCE_S + 60 * (not last):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return last, "hang"
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return last, None if code == 0 else f"ended by {code}"
