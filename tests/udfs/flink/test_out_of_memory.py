"""A worker without memory ends; whatever else goes wrong in a thread is told as before. On real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading, time
from thalweg.udfs.flink.out_of_memory import end_when_out_of_memory, end_where_no_memory_is_left
end_where_no_memory_is_left()
end_when_out_of_memory()
end_when_out_of_memory()
{what}
print("went on")
"""
LIMITED = """
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held, held))
"""


def raising(error: str) -> str:
    return f"def f(): raise {error}\nthread = threading.Thread(target=f)\nthread.start()\nthread.join()"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (raising("MemoryError()"), 137),
        (raising('RuntimeError("can\'t start new thread")'), 137),
        ("class A:\n    def __del__(self): raise MemoryError\nA()", 137),
        (raising('ValueError("other")'), 0),
    ],
    ids=["memory", "threads", "unraisable", "other"],
)
def test_a_thread_that_died_for_want_of_memory_ends_the_process(what: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("went on" in done.stdout) is (code == 0)
    assert ("ValueError: other" in done.stderr) is (code == 0)


def test_a_process_that_lives_on_without_memory_ends_at_the_next_look() -> None:
    what = LIMITED + "held = []\ntry:\n    while True: held.append(bytearray(1 << 18))\n"
    what += "except MemoryError: end_where_no_memory_is_left()\n"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (137, ""), done.stderr


LOOKS = """
def look():
    waited_for = set()
    while True:
        waited_for = end_where_no_memory_is_left(waited_for)
        time.sleep(1)
threading.Thread(target=look, daemon=True).start()
"""


@pytest.mark.parametrize("begins", [False, True])
def test_a_thread_that_never_begins_is_not_waited_for_for_ever(begins: bool) -> None:
    what = LOOKS + "thread = threading.Thread(target=time.sleep, args=(1,))\n"
    what += "" if begins else "thread._bootstrap = lambda: None  # ends before it begins\n"
    what += "thread.start()\nfor n in range(2000): threading.Thread(target=int).start()\n"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == (0 if begins else 137), done.stderr
