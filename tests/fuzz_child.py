"""Runs one target of the fuzz campaign in a process of its own, with bounds on time and memory.

``main`` writes what it finds into a folder, and its figures into a pipe, as lines of JSON. The input that is
being tried stands in the file ``at``: what ends the process is found there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import random
import re
import resource
import signal
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

TIME_S = 2.0
"""What one input may take of the processor; another process on it is not the input's fault."""
GROWTH = 256 * 2**20
"""What one input may add to the largest size of the process, bytes."""
ADDRESSES = 8 * 2**30
"""Address space of the process beyond what it has at the start, bytes; threads and JIT compilers reserve much."""
_KEPT = 400  # inputs that led to something new, to go on from
_LARGEST = 1 << 20


class Hang(BaseException):
    """An input took too long."""


def _alarm(number: int, frame: Any) -> NoReturn:
    raise Hang


def peak() -> int:
    """Return the largest size that this process has had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def outcome(target: Any, data: bytes) -> tuple[str, str]:
    """Return what comes of bytes (``ok``, ``refused``, ``crash``, ``hang``, ``oversized``), and a signature."""
    before = peak()
    signal.setitimer(signal.ITIMER_PROF, TIME_S)
    try:
        result = "ok", str(target.read(data))[:200]
    except Hang:
        result = "hang", "Hang"
    except MemoryError:
        result = "oversized", "MemoryError"
    except target.refusals as error:
        sentence = str(error)
        result = ("refused", _signature(error)) if sentence.strip() else ("crash", f"{type(error).__name__} is silent")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        result = "crash", f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if peak() - before > GROWTH:
        result = "oversized", f"{result[0]}, {(peak() - before) >> 20} MB more"
    return result


def _signature(error: BaseException) -> str:
    return type(error).__name__ + re.sub(r"'[^']*'|\"[^\"]*\"|[0-9.]+", "#", str(error))[:100]


class Campaign:
    """Inputs to one target, from examples and from what led to something new."""

    def __init__(self, target: Any, seed: int) -> None:
        from fuzz_mutate import mutate

        self._mutate, self._target, self._pick = mutate, target, random.Random(seed)
        self._seeds, self._known = list(target.seeds), set[tuple[str, str]]()
        self._long = max(4096, 2 * max(map(len, target.seeds)))
        self.figures = {"inputs": 0, "ok": 0, "refused": 0, "crash": 0, "hang": 0, "oversized": 0}
        self.found: dict[str, tuple[str, bytes]] = {}

    def next(self) -> bytes:
        """Return an input that has not been tried."""
        return self._mutate(self._seeds, self._pick, self._target.words)

    def take(self, data: bytes) -> None:
        """Try an input."""
        kind, told = outcome(self._target, data)
        self.figures["inputs"] += 1
        self.figures[kind] += 1
        if kind in ("crash", "hang", "oversized"):
            self.found.setdefault(f"{kind} {told}", (kind, data))
        elif (kind, told) not in self._known and len(self._known) < 20_000:
            self._known.add((kind, told))
            if len(data) > self._long:  # long ones only make what follows slow
                return
            if len(self._seeds) < _KEPT:
                self._seeds.append(data)
            elif self._pick.random() < 0.1:
                self._seeds[self._pick.randrange(len(self._target.seeds), _KEPT)] = data


def main(name: str, seed: int, seconds: float, count: int, folder: Path, out: int) -> None:
    """Try a target for some seconds, or with so many inputs."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # libraries write what they think of such input
    from fuzz_targets import targets

    target = targets()[name]()
    for data in target.seeds:  # compilers and caches first: they are not the input's fault
        with contextlib.suppress(*target.refusals):
            target.read(data)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESSES, held + ADDRESSES))
    signal.signal(signal.SIGPROF, _alarm)
    with open(folder / f"{name}.at", "w+b") as file:
        file.truncate(_LARGEST + 16)
        at = mmap.mmap(file.fileno(), _LARGEST + 16)
        campaign, end, last = Campaign(target, seed), time.monotonic() + seconds, 0.0
        while campaign.figures["inputs"] < count and time.monotonic() < end:
            data = campaign.next()
            at[:8] = len(data).to_bytes(8, "big")
            at[16 : 16 + len(data)] = data
            campaign.take(data)
            if time.monotonic() - last > 1:
                last = time.monotonic()
                os.write(out, json.dumps(campaign.figures).encode() + b"\n")
        at[:8] = b"\xff" * 8
    for what, (kind, data) in campaign.found.items():
        number = hashlib.sha256(data).hexdigest()[:8]
        (folder / f"{name}.{kind}.{number}").write_bytes(data)
        (folder / f"{name}.{kind}.{number}.txt").write_text(what)
    told = json.dumps({**campaign.figures, "found": sorted(campaign.found)})
    os.write(out, told.encode() + b"\n")
