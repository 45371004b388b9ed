"""The files in docker/, read and run as far as a machine without a daemon can."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyflink
import pytest
from cluster import free_port
from ruamel.yaml import YAML
from thalweg.jobs.jars import find_jars, pins
from thalweg.jobs.run import run_command

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


def read_yaml(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all((DOCKER / name).read_text()))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (word, rest), with lines that go on joined and comments dropped."""
    text = "\n".join(line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text()


def version_of_thalweg() -> str:
    found = re.search(r'^version = "(.+)"', pyproject(), re.MULTILINE)
    assert found
    return found[1]


def compose() -> dict[str, Any]:
    (found,) = read_yaml("compose.yaml")
    return dict(found["services"])


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_versions_are_those_of_pyproject_and_pom() -> None:
    flink, kafka = dict(pins("job"))["flink-sql-avro"], dict(pins("broker"))["kafka_2.13"]
    (image,) = (rest for rest in of("ARG") if rest.startswith("FLINK_IMAGE="))
    assert image == f"FLINK_IMAGE=flink:{flink}-scala_2.12-java17"
    assert f'"apache-flink>={flink},' in pyproject()
    below = re.search(r'requires-python = ">=3\.\d+,<3\.(\d+)"', pyproject())
    assert below
    newest = f"python3.{int(below[1]) - 1}"
    assert newest in " ".join(of("RUN"))
    assert set(re.findall(r"python3\.\d+", " ".join(of("RUN")))) == {newest}
    own = {service["image"] for service in compose().values() if service["image"].startswith("thalweg:")}
    deployment, job = read_yaml("kubernetes/thalweg.yaml")
    own |= {deployment["spec"]["image"], job["spec"]["template"]["spec"]["containers"][0]["image"]}
    assert own == {f"thalweg:{version_of_thalweg()}"}
    assert compose()["kafka"]["image"] == f"apache/kafka:{kafka}"
    assert deployment["spec"]["flinkVersion"] == "v" + "_".join(flink.split(".")[:2])
    plugins = deployment["spec"]["podTemplate"]["spec"]["containers"][0]["env"][0]["value"]
    assert plugins.endswith(f"-{flink}.jar")


def test_every_copied_file_is_there() -> None:
    stages = {rest.split(" AS ")[1] for rest in of("FROM") if " AS " in rest}
    for rest in of("COPY"):
        *sources, _ = [word for word in rest.split() if not word.startswith("--")]
        origin = re.search(r"--from=(\S+)", rest)
        if origin:
            assert origin[1] in stages
            continue
        for source in sources:
            if source.startswith("dist/"):
                assert source == f"dist/thalweg-{version_of_thalweg()}-py3-none-any.whl"
            else:
                assert (ROOT / source).is_file(), source


def test_the_checksums_are_those_of_the_pinned_jars() -> None:
    told = dict(reversed(line.split()) for line in (DOCKER / "jars.sha256").read_text().splitlines())
    assert set(told) == {f"{artifact}-{version}.jar" for artifact, version in pins("job")}
    jars = find_jars("job")
    done = subprocess.run(
        ["sha256sum", "-c", DOCKER / "jars.sha256"], cwd=jars[0].parent, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_runs_is_not_root_and_says_whether_it_is_well() -> None:
    assert of("USER")[-1] == "9999:9999"
    (command,) = (json.loads(rest.partition("CMD ")[2]) for rest in of("HEALTHCHECK"))
    assert command == ["/opt/thalweg/healthcheck.sh"]


@pytest.mark.parametrize("at", range(3))
def test_the_healthcheck_takes_any_of_the_three_endpoints(at: int) -> None:
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    names = ("THALWEG_REST_PORT", "THALWEG_GATEWAY_PORT", "THALWEG_METRICS_PORT")
    ports = {name: str(free_port()) for name in names}
    command = ["bash", str(DOCKER / "healthcheck.sh")]
    ill = subprocess.run(command, env={**os.environ, **ports}, capture_output=True, text=True, check=False)
    assert ill.returncode == 1
    assert all(port in ill.stderr for port in ports.values())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports[names[at]] = str(server.server_address[1])
        well = subprocess.run(command, env={**os.environ, **ports}, capture_output=True, text=True, check=False)
        server.shutdown()
    assert well.returncode == 0, well.stderr
    assert asked == [("/overview", "/v1/info", "/metrics")[at]]


def test_compose_mounts_what_is_there_and_publishes_on_loopback_only() -> None:
    (whole,) = read_yaml("compose.yaml")
    exposed = {int(port) for port in of("EXPOSE")[0].split()}
    for name, service in compose().items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (DOCKER / source).exists() if source.startswith(".") else source in whole["volumes"], mount
        for published in service.get("ports", []):
            host, _, inside = published.split(":")
            assert host == "127.0.0.1", f"{name} publishes {published}"
            if service["image"].startswith("thalweg:"):
                assert int(inside) in exposed
        for other, wants in _waits_for(service).items():
            if wants == "service_healthy":
                healthy = compose()[other].get("healthcheck", {})
                assert healthy.get("test") or (compose()[other]["image"].startswith("thalweg:") and not healthy)


def _waits_for(service: dict[str, Any]) -> dict[str, str]:
    waits = service.get("depends_on", {})
    return {name: "" for name in waits} if isinstance(waits, list) else {k: v["condition"] for k, v in waits.items()}


def test_compose_starts_scripts_and_settings_that_exist() -> None:
    services = compose()
    assert [services[name]["command"] for name in ("jobmanager", "taskmanager")] == [["jobmanager"], ["taskmanager"]]
    script, *words = services["sql-gateway"]["command"]
    assert (Path(pyflink.__file__).parent / script.removeprefix("/opt/flink/")).is_file()
    assert "-Dsql-gateway.endpoint.rest.port=8083" in words
    settings = YAML(typ="safe").load(services["jobmanager"]["environment"]["FLINK_PROPERTIES"])
    assert settings["metrics.reporter.prom.port"] == 9249
    assert settings["python.executable"].startswith("/opt/thalweg/venv/")
    (scrape,) = read_yaml("prometheus/prometheus.yml")
    (found,) = scrape["scrape_configs"][0]["dns_sd_configs"]
    assert set(found["names"]) <= set(services)
    assert found["port"] == 9249


def test_grafana_finds_its_dashboard_and_the_dashboard_its_data() -> None:
    (source,) = read_yaml("grafana/datasource.yaml")
    (provider,) = read_yaml("grafana/dashboards.yaml")
    mounts = dict(mount.split(":")[:2][::-1] for mount in compose()["grafana"]["volumes"])
    folder = provider["providers"][0]["options"]["path"]
    assert mounts[f"{folder}/thalweg.json"] == "./grafana/thalweg.json"
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    text = (DOCKER / "grafana" / "thalweg.json").read_text()
    used = set(re.findall(r'"uid": "([^"]+)"', text.replace(json.loads(text)["uid"], "")))
    assert used <= {source["datasources"][0]["uid"], "${datasource}", ""}


def test_the_kubernetes_job_calls_the_command_line_as_it_is() -> None:
    _, job = read_yaml("kubernetes/thalweg.yaml")
    program, command, *words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert (program, command) == ("thalweg", "run")
    options = {name for parameter in run_command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_the_run_steps_do_what_they_say(tmp_path: Path) -> None:
    """Each step in the image's own order, with the image's folders moved into a scratch folder."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    built = subprocess.run([*build, str(_copy(tmp_path))], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    flink = tmp_path / "opt" / "flink"
    for folder in ("lib", "opt", "conf"):
        (flink / folder).mkdir(parents=True)
    for jar in (Path(pyflink.__file__).parent / "opt").glob("flink-python-*.jar"):
        shutil.copy(jar, flink / "opt")
    (tmp_path / "usr/local/bin").mkdir(parents=True)

    def moved(text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|build|usr)/", f"{tmp_path}/\\1/", text + " ").strip()

    at = tmp_path
    # The packages that Thalweg needs are what every other test runs on: here only the wheel itself is installed.
    environment = {**os.environ, "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ran = []
    for word, rest in instructions():
        if word == "WORKDIR":
            at = Path(moved(rest + "/"))
            at.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            origin, (*sources, target) = rest.startswith("--from="), rest.replace("--from=jars ", "").split()
            for source in sources:
                found = Path(moved(source)) if origin else tmp_path if source.startswith("dist/") else ROOT
                into = Path(moved(target)) if origin else at / Path(source).name
                if origin:
                    shutil.copytree(found, into)
                else:
                    shutil.copy(found / source, into)
        elif word == "RUN" and "apt-get" not in rest:
            step = moved(rest).replace("python3.12", shlex.quote(sys.executable))
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", step], cwd=at, env=environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
            ran.append(step)
    assert len(ran) == len([rest for rest in of("RUN") if "apt-get" not in rest]) == 5
    assert {jar.name.rpartition("-2")[0] for jar in (flink / "lib").glob("*.jar")} == {
        "flink-python", "flink-sql-avro", "flink-sql-connector-kafka-5.0.0",
    }  # fmt: skip
    for name in ("log4j.properties", "log4j-console.properties"):
        assert (flink / "conf" / name).read_text().splitlines() == [
            "logger.beamworkers.name = org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory",
            "logger.beamworkers.level = OFF",
        ]
    linked = tmp_path / "usr/local/bin/thalweg"
    assert linked.resolve() == tmp_path / "opt/thalweg/venv/bin/thalweg"
    assert os.access(tmp_path / "opt/thalweg/healthcheck.sh", os.X_OK)


def _copy(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for folder in ("connector", "udfs", "jobs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return source
