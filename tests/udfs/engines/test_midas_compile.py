"""Machine code in workers of PyFlink, which put a method of their own in the place of ``print``."""

from __future__ import annotations

import os
import subprocess
import sys

_WORKER = """
import builtins

class CustomPrint:  # as pyflink.fn_execution.beam.beam_sdk_worker_main has it
    def __init__(self, shown):
        self._msg_buffer, self._print = [], shown

    def print(self, *values, **options):
        self._print(*values, **options)

builtins.print = custom = CustomPrint(print).print
{first}
import numpy as np
from thalweg.udfs.engines.midas_quantile import ScoreQuantile
assert builtins.print == custom, "the worker's print is in its place again"
print(ScoreQuantile(0.9).judge(np.arange(12.0), learn=True)[-1])
"""


def _run(first: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = _WORKER.format(first=first)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_numba_is_imported_where_print_is_a_method_of_the_worker() -> None:
    ran = _run("")
    assert (ran.returncode, ran.stdout.strip()) == (0, "1"), ran.stderr


def test_without_the_mend_numba_cannot_be_imported_there() -> None:
    ran = _run("import numba")
    assert ran.returncode != 0
    assert "print" in ran.stderr
