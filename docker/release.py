"""Builds everything that a release ships into ``dist/``: what ``make release`` runs.

Wheel and source archive, the zip for ``-pyfs``, the list of jars with their checksums, the bill of materials
(CycloneDX), the section of the changelog, and the checksums of all of these.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from thalweg.jobs.bundle import bundle
from thalweg.jobs.jars import job_jars

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


def main() -> None:
    """Build the release, and name each file as it is there."""
    version = distribution("thalweg").version
    shutil.rmtree(DIST, ignore_errors=True)
    # A build packs what an earlier one left behind.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own words
    (DIST / f"thalweg-{version}-pyfs.zip").write_bytes(bundle())
    jars = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in job_jars()}
    (DIST / "jars.sha256").write_text("".join(f"{digest}  {name}\n" for name, digest in jars.items()))
    (DIST / "sbom.json").write_text(bill_of_materials("thalweg", jars))
    (DIST / "CHANGES.md").write_text(changes((ROOT / "CHANGELOG.md").read_text(), version))
    shipped = sorted(path for path in DIST.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in shipped)
    (DIST / "SHA256SUMS").write_text(sums)
    sys.stdout.write(sums)


def bill_of_materials(package: str, jars: dict[str, str]) -> str:
    """Return what runs with ``package``: its requirements and theirs as they are installed here, and the jars.

    Parameters
    ----------
    package : str
        An installed package.
    jars : dict of str to str
        SHA-256 by file name, ``<artifact>-<version>.jar`` of the group ``org.apache.flink``.

    Returns
    -------
    str
        JSON of CycloneDX 1.6.
    """
    bom = Bom()
    bom.metadata.component = Component(name=package, version=distribution(package).version)
    for name, version in sorted(_requirements(package).items()):
        purl = PackageURL("pypi", name=name, version=version)
        bom.components.add(Component(name=name, version=version, type=ComponentType.LIBRARY, purl=purl))
    for file, digest in jars.items():
        found = re.fullmatch(r"(.+?)-(\d.*)\.jar", file)
        name, version = (found[1], found[2]) if found else (file, "")
        purl = PackageURL("maven", "org.apache.flink", name, version)
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
        bom.components.add(
            Component(name=name, version=version, group="org.apache.flink", type=ComponentType.LIBRARY, purl=purl,
                      hashes=hashes)
        )  # fmt: skip
    bom.register_dependency(bom.metadata.component, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def _requirements(package: str) -> dict[str, str]:
    """Return name and version of all that ``package`` needs, at any depth, without extras."""
    found: dict[str, str] = {}
    waiting = [package]
    while waiting:
        for text in distribution(waiting.pop()).requires or ():
            need = Requirement(text)
            name = re.sub(r"[-_.]+", "-", need.name).lower()
            if name in found or (need.marker is not None and not need.marker.evaluate({"extra": ""})):
                continue
            try:
                found[name] = distribution(name).version
            except PackageNotFoundError:
                continue  # of another platform
            waiting.append(name)
    return found


def changes(changelog: str, version: str) -> str:
    """Return the section of one version out of a changelog.

    Raises
    ------
    SystemExit
        There is none: a release without it is not one.
    """
    found = re.search(rf"^## \[[^]]*\][^\n]*{re.escape(version)}.*?(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    found = found or re.search(rf"^## \[{re.escape(version)}\].*?(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"CHANGELOG.md has no section of {version}: write it.")
    return found[0]


if __name__ == "__main__":
    main()
