"""The guard of Redis as a service: units and manifests are valid, locked down, consistent, and what they start works."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from docs.test_commands import understand
from go_cache_safeguard.config.layer import Place, environ_layer, toml_layer
from go_cache_safeguard.config.resolve import resolve
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.flows.redis_routes import arrange
from gocaches import REPOSITORY
from guardproxy import COMMAND, free_port, guarding, wait_until
from redisservers import Client, ServerError, running

FOLDER = REPOSITORY / "deploy" / "redis"
UNIT = FOLDER / "go-cache-safeguard-redis.service"
VERSIONS = ("1.30", "1.37")
DOCUMENTS = [
    (f"{path.name}#{number}", document)
    for path in sorted(FOLDER.glob("*.yaml"))
    for number, document in enumerate(yaml.safe_load_all(path.read_text()))
]
POD: dict[str, Any] = next(document for _, document in DOCUMENTS if document["kind"] == "StatefulSet")["spec"][
    "template"
]
GUARD: dict[str, Any] = POD["spec"]["initContainers"][0]
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for _, document in DOCUMENTS if document["kind"] == kind]


# systemd


def unit() -> dict[str, list[str]]:
    """Keys of the unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_systemd_understands_the_unit_and_finds_it_locked_down(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("go-cache-safeguard")
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/usr/local/bin/go-cache-safeguard", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    wrong = tmp_path / "wrong.service"
    wrong.write_text(here.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(wrong)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "NoNewPrivilege" in said.stderr
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout


def test_the_unit_says_what_the_program_says() -> None:
    keys = unit()
    assert keys["Type"] == ["notify"]
    command = keys["ExecStart"][0].replace("/usr/local/bin/", "")
    understand(command)
    variables = dict(text.split("=", 1) for text in keys["Environment"])
    settings = resolve(
        [environ_layer({name: value.replace("%S", "/s").replace("%d", "/d") for name, value in variables.items()})]
    )
    assert settings.text("redis.password_file") == "/d/" + keys["LoadCredential"][0].split(":")[0]
    assert settings.text("state.dir") == f"/s/{keys['StateDirectory'][0]}"
    codes = {int(word) for word in keys["RestartPreventExitStatus"][0].split()}
    assert codes == {ExitCode.USAGE, ExitCode.CONFIG}
    assert int(keys["TimeoutStopSec"][0]) > settings.seconds("redis_proxy.drain")
    assert int(keys["LimitNOFILE"][0]) > 4 * settings.count("redis_proxy.connections") + 100


def test_the_example_of_settings_is_read() -> None:
    path = FOLDER / "config.toml"
    arranged = arrange(resolve([toml_layer(Place.SYSTEM, path.read_bytes(), str(path))]))
    assert [where.name for where in arranged.listens] == ["127.0.0.1:6380", "unix:///run/go-cache-safeguard/redis"]
    assert all(where.is_local for where in arranged.listens)
    assert unit()["RuntimeDirectory"] == ["go-cache-safeguard"]


def test_the_user_of_the_unit_is_the_one_that_is_made() -> None:
    lines = [
        line for line in (FOLDER / "go-cache-safeguard.sysusers").read_text().splitlines() if line.startswith("u ")
    ]
    assert [shlex.split(line)[1] for line in lines] == unit()["User"] == unit()["Group"]


# The image


def test_the_image_is_pinned_runs_as_nobody_special_and_names_no_registry() -> None:
    text = (FOLDER / "Containerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases == ["python:3.13", "python:3.13-slim"]
    for line in re.findall(r"pip install (.*?)(?: &&|$)", text, re.MULTILINE):
        assert "--require-hashes" in line or "--no-deps --no-index" in line, line
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in line.split():
            assert (REPOSITORY / name).exists(), name
    assert re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE) == [("10001", "10001")]
    start = [*yaml.safe_load(re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[0])]
    for more in re.findall(r"^CMD (.*)$", text, re.MULTILINE):
        understand(shlex.join([*start, *yaml.safe_load(more)]))
    understand(shlex.join(yaml.safe_load(re.findall(r"^HEALTHCHECK .* CMD (.*)$", text, re.MULTILINE)[0])))
    for path in FOLDER.iterdir():
        assert not re.search(r"\b(?:[\w-]+\.)+(?:io|com|dev|org)/[\w-]+/", path.read_text()), path


# Kubernetes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=[name for name, _ in DOCUMENTS])
def test_every_document_is_valid_by_the_published_schema(name: str, document: dict[str, Any], version: str) -> None:
    assert name
    kubernetes_validate.validate(document, version, strict=True)
    assert document["metadata"]["labels"] == {"app.kubernetes.io/name": "go-cache-safeguard"}


def test_the_guard_is_a_sidecar_and_its_commands_are_understood() -> None:
    assert GUARD["restartPolicy"] == "Always"
    understand(shlex.join([*GUARD["command"], *GUARD["args"]]))
    for name in PROBES:
        understand(shlex.join(GUARD[name]["exec"]["command"]))
    drain = int(GUARD["args"][GUARD["args"].index("--drain") + 1].rstrip("s"))
    assert POD["spec"]["terminationGracePeriodSeconds"] > drain
    listen = GUARD["args"][GUARD["args"].index("--listen") + 1]
    app = {one["name"]: one["value"] for one in POD["spec"]["containers"][0]["env"]}
    assert app["REDIS_URL"].startswith(f"redis://{listen}/")


@pytest.mark.parametrize("container", [GUARD, *POD["spec"]["containers"]], ids=lambda container: container["name"])
def test_nobody_has_more_rights_than_needed(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}
    whole = POD["spec"]["securityContext"]
    assert (whole["runAsNonRoot"], whole["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert not {"hostPID", "hostNetwork", "hostIPC"} & POD["spec"].keys()


def test_what_is_named_is_there() -> None:
    secret, claim = of_kind("Secret")[0], of_kind("StatefulSet")[0]["spec"]["volumeClaimTemplates"][0]
    wanted = next(one for one in GUARD["env"] if "valueFrom" in one)["valueFrom"]["secretKeyRef"]
    assert secret["metadata"]["name"] == wanted["name"]
    assert wanted["key"] in secret["stringData"]
    volumes = {volume["name"] for volume in POD["spec"]["volumes"]} | {claim["metadata"]["name"]}
    assert {mount["name"] for mount in GUARD["volumeMounts"]} == volumes
    state = next(one["value"] for one in GUARD["env"] if one["name"].endswith("STATE_DIR"))
    assert state.startswith(f"{GUARD['volumeMounts'][0]['mountPath']}/")
    assert POD["spec"]["serviceAccountName"] in {one["metadata"]["name"] for one in of_kind("ServiceAccount")}


def test_redis_hears_only_pods_with_a_guard() -> None:
    inward, outward = of_kind("NetworkPolicy")
    label = inward["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert label.items() <= POD["metadata"]["labels"].items()
    assert outward["spec"]["podSelector"]["matchLabels"] == label
    assert outward["spec"]["egress"][0]["to"][0]["podSelector"] == inward["spec"]["podSelector"]
    assert "namespaceSelector" not in inward["spec"]["ingress"][0]["from"][0]


@pytest.mark.real
def test_the_sidecar_works_here_with_its_environment_and_its_probes(tmp_path: Path) -> None:
    port, front, back = free_port(), free_port(), tmp_path / "server"
    back.mkdir()
    known = {"redis://guard@redis:6379": f"redis://guard@127.0.0.1:{port}", "127.0.0.1:6380": f"127.0.0.1:{front}"}
    settings = {
        name.removeprefix("GO_CACHE_SAFEGUARD_").lower().replace("_", ".", 1): value
        for name, value in _given()
        if name != "GO_CACHE_SAFEGUARD_STATE_DIR"
    }
    arguments = [known.get(word, word) for word in GUARD["args"] if word != "--json"]
    password = of_kind("Secret")[0]["stringData"]["password"]
    folder = tmp_path / "p"
    with running("redis-7.0", back, "--port", str(port), "--bind", "127.0.0.1") as server:
        with server.client() as direct:
            direct("ACL", "SETUSER", "guard", "on", f">{password}", "~*", "&*", "+@all")
            direct("ACL", "SETUSER", "default", "off")
        with guarding(folder, *arguments, settings=settings, environ={"REDISCLI_AUTH": password}) as proxy:
            wait_until("the guard logs in", lambda: list(folder.glob("state/hit-rates/*.json")))
            assert proxy.events("error") == []
            ask = {name: [known.get(word, word) for word in GUARD[name]["exec"]["command"]][1:] for name in PROBES}
            assert all(_run(words, proxy.environ) == 0 for words in ask.values())
            os.kill(server.pid, 9)
            wait_until("the server is gone", lambda: not _is_there(server.path))
            assert _run(ask["livenessProbe"], proxy.environ) == 0
            assert _run(ask["readinessProbe"], proxy.environ) == ExitCode.TARGET
            assert proxy.stop() == 0
            assert _run(ask["livenessProbe"], proxy.environ) == ExitCode.TARGET


def _given() -> Iterator[tuple[str, str]]:
    for one in GUARD["env"]:
        if "value" in one:
            yield one["name"], one["value"]


def _run(words: list[str], environ: dict[str, str]) -> int:
    return subprocess.run([*COMMAND, *words], env=environ, capture_output=True, check=False, timeout=60).returncode


def _is_there(path: str) -> bool:
    try:
        Client(path).close()
    except (OSError, ServerError):
        return False
    return True
