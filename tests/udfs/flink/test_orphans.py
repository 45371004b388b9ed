"""A worker ends with its Flink, held on real processes."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from thalweg.udfs.flink import orphans
from thalweg.udfs.flink.orphans import end_with_flink

# As Flink starts a worker: the program, a shell that waits for it, and the worker at the end of a pipe.
WORKER = """
import sys, time
from thalweg.udfs.flink import orphans
from thalweg.udfs.flink.orphans import end_with_flink
print(end_with_flink(sys.argv[1], 0.05), end_with_flink(sys.argv[1], 0.05), __import__("os").getpid(), flush=True)
time.sleep(120)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("spared", [False, True])
def test_a_worker_ends_when_the_process_it_works_for_was_killed(spared: bool, tmp_path: Path) -> None:
    script, out = tmp_path / "worker.py", tmp_path / "out"
    script.write_text(WORKER)
    # The stand-in of Java is a shell under a name of its own; the pipe keeps the worker open as Flink's does.
    flink = tmp_path / "flinkjava"
    flink.symlink_to("/bin/bash")
    name = "flinkjava" if not spared else "nosuchname"
    command = f"{sys.executable} {script} {name} 2>&1 | tee {out}"
    process = subprocess.Popen([flink, "-c", f"bash -c '{command}'; true"], start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not (out.exists() and out.read_text().endswith("\n")) and time.monotonic() < deadline:
            time.sleep(0.05)
        first, second, pid = out.read_text().split()
        assert (first, second) == ("False" if spared else "True", "False")
        worker = int(pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + (2 if spared else 60)
        while alive(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert alive(worker) is spared
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_without_such_an_ancestor_there_is_nothing_to_watch() -> None:
    assert end_with_flink("no program has this name") is False


def test_everything_that_flink_opens_watches() -> None:
    """A worker runs whatever the planner puts into it: one kind of function that does not watch leaves orphans."""
    folder, opened = Path(orphans.__file__).parent, {"ScalarFunction", "AggregateFunction", "KeyedProcessFunction"}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            bases = {ast.unparse(base) for base in getattr(node, "bases", ())}
            if isinstance(node, ast.ClassDef) and bases & opened:
                opens = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "open"]
                assert opens, f"{path.name}: {node.name} has no open"
                assert "end_with_flink()" in ast.unparse(opens[0]), f"{path.name}: {node.name}"
