"""Where Java is, and how old."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from thalweg.connector.errors import SetupError

__all__ = ["JAVA_FLOOR", "java_command", "java_major"]

JAVA_FLOOR = 17
"""The oldest Java that runs everything here: Flink 2 would take 11, a Kafka 4 broker wants 17."""


def java_command() -> str:
    """Return the path of the ``java`` program: that of ``JAVA_HOME``, else the first on the PATH.

    Raises
    ------
    SetupError
        There is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        command = Path(home) / "bin" / "java"
        if not command.exists():
            raise SetupError(f"JAVA_HOME is {home}, which has no bin/java: correct it or unset it.")
        return str(command)
    found = shutil.which("java")
    if found is None:
        raise SetupError(
            f"Java is missing: install a Java {JAVA_FLOOR} runtime (for instance the package openjdk-17-jre-headless)."
        )
    return found


def java_major(command: str) -> int:
    """Return the major version that ``command -version`` tells.

    Raises
    ------
    SetupError
        The program does not run or does not say a version.
    """
    try:
        told = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{command} does not run ({error}): install a Java {JAVA_FLOOR} runtime.") from error
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if match is None:
        raise SetupError(f"{command} -version does not tell a version: install a Java {JAVA_FLOOR} runtime.")
    return int(match[1])
