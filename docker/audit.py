"""Looks the pinned dependencies up in a database of known vulnerabilities: what ``make audit`` runs.

pip-audit does the work. It ends with 0 also where it could look nothing up, so that a machine without a way to the
database would pass for a clean one: here that is told, and has an exit code of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3
"""Exit codes: nothing is known against any; something is; not all could be looked up."""


def main(arguments: Sequence[str], requirements: Path = ROOT / "constraints.txt") -> int:
    """Audit exactly the pinned set, and return the exit code.

    Parameters
    ----------
    arguments : sequence of str
        More options of pip-audit, such as ``--vulnerability-service osv``.
    requirements : Path
        The pins; nothing is resolved and nothing installed.
    """
    words = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    words += ["--format", "json", "--progress-spinner", "off", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        found = []
    code, text = verdict(found, done.stderr)
    sys.stdout.write(text)
    return code


def verdict(found: Sequence[dict[str, Any]], trouble: str = "") -> tuple[int, str]:
    r"""Return the exit code, and what there is to say.

    Parameters
    ----------
    found : sequence of dict
        pip-audit's ``dependencies``: ``name``, and ``version`` with ``vulns``, or ``skip_reason``.
    trouble : str
        What it wrote on standard error; its last line tells why there is no answer.

    Examples
    --------
    >>> verdict([{"name": "six", "version": "1.17.0", "vulns": []}])
    (0, 'Nothing is known against 1 pinned packages.\n')
    >>> verdict([{"name": "six", "skip_reason": "not found"}])[0]
    3
    """
    skipped = [one["name"] for one in found if "skip_reason" in one]
    known = [(one, vulnerability) for one in found for vulnerability in one.get("vulns", ())]
    lines = []
    for one, vulnerability in known:
        fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
        names = ", ".join([vulnerability["id"], *vulnerability.get("aliases", ())])
        lines.append(f"{one['name']} {one['version']}: {names}; mended in {fixed}.")
    if len(skipped) == len(found):
        last = (trouble.strip().splitlines() or ["no package was found there"])[-1]
        lines.append(
            f"The vulnerability database cannot be asked from here ({last[:80]}...): nothing is known, good or bad."
            " Run it where the network leads there, or name a mirror: ARGS='--vulnerability-service osv --osv-url URL'."
        )
    elif skipped:
        lines.append(f"{len(skipped)} of {len(found)} packages could not be looked up: {', '.join(sorted(skipped))}.")
    elif not known:
        lines.append(f"Nothing is known against {len(found)} pinned packages.")
    code = VULNERABLE if known else UNKNOWN if skipped or not found else CLEAN
    return code, "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
