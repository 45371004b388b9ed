"""Where the pinned jars are: found in a folder, or resolved through Maven on first use.

The pins are the profiles of ``connector/jars/pom.xml``. A folder of jars holds one sub-folder per profile.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path
from xml.etree import ElementTree

from thalweg.connector.errors import SetupError

__all__ = [
    "broker_jars",
    "check_connector",
    "connector_version",
    "find_jars",
    "gateway_jars",
    "is_connector",
    "job_jars",
    "pins",
]

_POM = "{http://maven.apache.org/POM/4.0.0}"
_CONNECTOR = re.compile(r"flink-(?:sql-)?connector-kafka\b.*\.jar$")
_OLDEST_CONNECTOR = 4


def job_jars() -> list[Path]:
    """Return the jars that a job needs on its classpath, checked to fit Flink 2.

    Raises
    ------
    SetupError
        They are not there and cannot be resolved, or the Kafka connector is for another Flink.
    """
    jars = _jars("job")
    check_connector(jars)
    return jars


def broker_jars() -> list[Path]:
    """Return the jars of a Kafka broker; raises SetupError as ``job_jars`` does."""
    return _jars("broker")


def gateway_jars() -> list[Path]:
    """Return the jars that complete PyFlink's distribution with the SQL gateway; raises SetupError as ``job_jars``."""
    return _jars("gateway")


def find_jars(profile: str) -> list[Path]:
    """Return the jars of ``profile`` that are there already, sorted by name; empty where they have to be resolved.

    ``THALWEG_JARS`` names the only folder to look in. Without it: ``.thalweg/jars`` of the working directory, of the
    source checkout, then of the home folder. A folder whose pinned jars are of another version does not count.
    """
    wanted = {f"{artifact}-{version}.jar" for artifact, version in pins(profile)}
    for folder in _folders():
        found = sorted((folder / profile).glob("*.jar"))
        if wanted and wanted <= {jar.name for jar in found}:
            return [jar.absolute() for jar in found]
    return []


def pins(profile: str) -> list[tuple[str, str]]:
    """Return (artifact, version) of each jar that ``profile`` of the packaged pom names.

    Examples
    --------
    >>> [artifact for artifact, version in pins("job")]
    ['flink-sql-connector-kafka', 'flink-sql-avro']
    """
    # The file is ours, not a stranger's.
    root = ElementTree.fromstring(files("thalweg.connector").joinpath("jars/pom.xml").read_text("utf-8"))  # noqa: S314
    properties = {node.tag.removeprefix(_POM): node.text or "" for node in root.iterfind(f"{_POM}properties/*")}
    path = f"{_POM}profiles/{_POM}profile[{_POM}id='{profile}']/{_POM}dependencies/{_POM}dependency"
    return [
        (
            dependency.findtext(f"{_POM}artifactId", ""),
            re.sub(r"\$\{(.+?)\}", lambda m: properties[m[1]], dependency.findtext(f"{_POM}version", "")),
        )
        for dependency in root.iterfind(path)
    ]


def check_connector(jars: Iterable[Path]) -> None:
    """Refuse a Kafka connector that was built for another Flink than 2.

    Raises
    ------
    SetupError
        There is none, there are several, or its major is below 4: such a job starts and then dies with a
        NoSuchMethodError.
    """
    found = [jar for jar in jars if is_connector(jar)]
    if not found:
        raise SetupError("No jar is Flink's Kafka connector: add flink-sql-connector-kafka to 'pipeline.jars'.")
    if len(found) > 1:
        names = ", ".join(jar.name for jar in found)
        raise SetupError(f"Several jars are Flink's Kafka connector ({names}): leave only one in the folder.")
    version = connector_version(found[0])
    if int(version.partition(".")[0]) < _OLDEST_CONNECTOR:
        raise SetupError(
            f"{found[0].name} is Kafka connector {version}, built for Flink 1: replace it by 4.0.0-2.0 or newer."
        )


def is_connector(jar: Path) -> bool:
    """Return whether a jar is named as Flink's Kafka connector."""
    return _CONNECTOR.match(jar.name) is not None


def connector_version(jar: Path) -> str:
    """Return the version that the jar's manifest tells, as in ``5.0.0-2.2``.

    Raises
    ------
    SetupError
        The file is not a readable jar, or its manifest tells no version.
    """
    try:
        with zipfile.ZipFile(jar) as archive:
            manifest = archive.read("META-INF/MANIFEST.MF").decode("utf-8", "replace")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SetupError(f"{jar} is not a readable jar ({error}): remove it and resolve it again.") from error
    match = re.search(r"^Implementation-Version: *(\d\S*)", manifest, re.MULTILINE)
    if match is None:
        raise SetupError(f"{jar} tells no version in its manifest: replace it by a released connector.")
    return match[1]


def _folders() -> list[Path]:
    named = os.environ.get("THALWEG_JARS")
    if named:
        return [Path(named)]
    checkout = Path(__file__).resolve().parent.parent
    return [root / ".thalweg" / "jars" for root in (Path.cwd(), checkout, Path.home())]


def _jars(profile: str) -> list[Path]:
    found = find_jars(profile)
    if not found:
        # The last folder is the named one, or that of the home folder: never a checkout nobody asked to change.
        _resolve(profile, _folders()[-1])
        found = find_jars(profile)
    if not found:
        raise SetupError(f"Maven resolved the jars of profile '{profile}', but not those that the pom names.")
    return found


def _resolve(profile: str, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(
            f"The jars of profile '{profile}' are not in {folder} and Maven is missing: install Maven 3.8 or newer "
            "(for instance the package maven), or name a folder that has them in THALWEG_JARS."
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Copied beside and then renamed: who looks meanwhile sees all of the jars or none.
    with tempfile.TemporaryDirectory(dir=folder) as beside, as_file(files("thalweg.connector") / "jars/pom.xml") as pom:
        command = [
            maven,
            "-B",
            "-q",
            "--strict-checksums",
            "-f",
            str(pom),
            "-P",
            profile,
            "dependency:copy-dependencies",
        ]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={beside}/{profile}"]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
        if run.returncode != 0:
            last = "\n".join((run.stdout + run.stderr).strip().splitlines()[-10:])
            raise SetupError(f"Maven could not resolve the jars of profile '{profile}':\n{last}")
        if (folder / profile).exists():
            os.replace(folder / profile, Path(beside) / "old")
        os.replace(Path(beside) / profile, folder / profile)
