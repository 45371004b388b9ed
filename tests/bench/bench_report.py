"""The page of ``thalweg report`` in headless Chromium: light, dark and on paper, with what the browser complains of.

The page is that of ``tests/report_sample.py`` and ``tests/experiment_sample.py``, with hostile names. Chromium is
looked for on the path (Debian's package ``chromium``); its log is read for messages of the console, a network that is
switched off shows what a page would load. ``--data`` is the folder for the pictures.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from experiment_sample import experiment_records
from report_sample import BASE_MS, sample_records
from thalweg.jobs.report_data import ReportData
from thalweg.jobs.report_page import report_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SIZE = (1000, 2600)
LOOKS = {"light": ["--blink-settings=preferredColorScheme=1"], "dark": ["--blink-settings=preferredColorScheme=0"]}
# A console that was never used says so as well: this line must be there, or the log is not what we think it is.
PROBE = "<script>console.error('probe')</script>"


def run(data: Path | None, rows: int | None) -> dict[str, Any]:
    """Return console messages, brightness by look, pages on paper, and seconds for the page; ``rows`` are hours."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        raise SystemExit("Chromium is missing: install it (Debian: the package chromium).")
    began = time.perf_counter()
    found = ReportData()
    for kind, record in [*experiment_records(rows or 72), *sample_records(rows or 72)]:
        found.add(kind, record)
    text = report_page(found, "How the models have done", BASE_MS)
    seconds = time.perf_counter() - began
    folder = data or Path(tempfile.mkdtemp(prefix="thalweg-report-"))
    folder.mkdir(parents=True, exist_ok=True)
    page, probe = folder / "report.html", folder / "probe.html"
    page.write_text(text, "utf-8")
    probe.write_text(PROBE)
    if not _shoot(browser, probe, folder / "probe.png", []):
        raise SystemExit("Chromium's log does not tell of the console: this check would see nothing.")
    messages, brightness = [], {}
    for look, options in LOOKS.items():
        print(f"{look} ...", file=sys.stderr)
        picture = folder / f"{look}.png"
        messages += _shoot(browser, page, picture, options)
        brightness[look] = _brightness(picture)
    paper = folder / "report.pdf"
    messages += _log(browser, page, [f"--print-to-pdf={paper}", "--no-pdf-header-footer"])
    return {
        "console_messages": messages,
        "brightness": brightness,
        "pages_on_paper": len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())),
        "page_bytes": len(text.encode()),
        "page_s": round(seconds, 3),
        "pictures": str(folder),
    }


def _shoot(browser: str, page: Path, picture: Path, options: list[str]) -> list[str]:
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    return _log(browser, page, [size, "--hide-scrollbars", f"--screenshot={picture}", *options])


def _log(browser: str, page: Path, options: list[str]) -> list[str]:
    """Open a page and return what its console said, errors of what it could not load among it."""
    with tempfile.TemporaryDirectory() as profile:
        fixed = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
        ]
        # Nothing but this file can be reached.
        fixed += ["--v=0", "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:1"]
        command = [browser, *fixed, *options, page.as_uri()]
        told = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return [line for line in told.stderr.splitlines() if "CONSOLE" in line or "net::ERR" in line]


def _brightness(picture: Path) -> float:
    """Return the mean brightness of the first rows of a PNG, 0 to 1: black ink on white is near 1."""
    raw = picture.read_bytes()
    at, packed = 8, b""
    while at < len(raw):
        (length,), kind = struct.unpack_from(">I", raw, at), raw[at + 4 : at + 8]
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack_from(">IIBB", raw, at + 8)
            if (width, height, depth) != (*SIZE, 8):
                raise SystemExit(f"The picture is {width} by {height}, {depth} bits.")
        if kind == b"IDAT":
            packed += raw[at + 8 : at + 8 + length]
        at += 12 + length
    channels = {2: 3, 6: 4}[colours]
    line = 1 + width * channels
    # The first line of a page is its margin. Whatever the filter, its first pixel is written as it is.
    first = zlib.decompress(packed)[:line]
    return round(sum(first[1:4]) / 3 / 255, 3)
