"""The Kubernetes manifests: valid by the published schemas, locked down, consistent in themselves, and their commands exist and work."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml

from docs.test_commands import understand
from gocaches import REPOSITORY, GoCache
from safeguard import Safeguard

FOLDER = REPOSITORY / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.37")
"""An old one and the newest of the published schemas that we validate against."""


def documents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for number, document in enumerate(yaml.safe_load_all(path.read_text())):
            found.append((f"{path.name}#{number}", document))
    return found


DOCUMENTS = documents()
JOB: dict[str, Any] = next(document for _, document in DOCUMENTS if document["kind"] == "CronJob")
POD: dict[str, Any] = JOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]
CONTAINERS: list[dict[str, Any]] = [*POD["initContainers"], *POD["containers"]]
each = pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container["name"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=[name for name, _ in DOCUMENTS])
def test_every_document_is_valid_by_the_published_schema(name: str, document: dict[str, Any], version: str) -> None:
    assert name
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_planted_mistake_is_seen(version: str) -> None:
    wrong = {**JOB, "spec": {**JOB["spec"], "scheduled": "daily"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_names_are_unique_and_all_carry_our_label() -> None:
    names = [(document["kind"], document["metadata"]["name"]) for _, document in DOCUMENTS]
    assert len(names) == len(set(names))
    for _, document in DOCUMENTS:
        assert document["metadata"]["labels"] == {"app.kubernetes.io/name": "go-cache-safeguard"}


def test_check_comes_before_clean_and_clean_before_purge() -> None:
    assert [container["command"][1] for container in CONTAINERS] == ["check", "clean", "purge"]
    assert POD["restartPolicy"] == "Never"
    assert JOB["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert JOB["spec"]["concurrencyPolicy"] == "Forbid"


@each
def test_every_command_is_one_that_the_command_line_understands(container: dict[str, Any]) -> None:
    understand(shlex.join([*container["command"], *container.get("args", [])]))


@each
def test_nobody_has_more_rights_than_needed(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}
    whole = POD["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] > 0
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert not {"hostPID", "hostNetwork", "hostIPC"} & POD.keys()
    assert not any("hostPath" in volume for volume in POD["volumes"])


@each
def test_every_mount_has_its_volume_and_every_path_a_mount(container: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {PurePosixPath(mount["mountPath"]): mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == volumes.keys()
    claims = {document["metadata"]["name"] for _, document in DOCUMENTS if document["kind"] == "PersistentVolumeClaim"}
    assert {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v} == claims
    for name, value in environ_of(container).items():
        text = value.removeprefix("file://")
        if text.startswith("/"):
            path = PurePosixPath(text)
            mount = next(mounts[one] for one in (path, *path.parents) if one in mounts)
            assert mount.get("readOnly", False) is (name == "GOPROXY"), name
    assert volumes["mirror"]["persistentVolumeClaim"]["readOnly"] is True
    # Quarantine lies beside the cache: the cache must not be the mount itself.
    assert PurePosixPath(environ_of(container)["GOCACHE"]) not in mounts


def test_nothing_goes_out_and_nothing_comes_in() -> None:
    policy = next(document for _, document in DOCUMENTS if document["kind"] == "NetworkPolicy")["spec"]
    labels = JOB["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert policy["ingress"] == policy["egress"] == []
    account = next(document for _, document in DOCUMENTS if document["kind"] == "ServiceAccount")
    assert account["metadata"]["name"] == POD["serviceAccountName"]
    assert account["automountServiceAccountToken"] is False


def test_no_file_names_a_registry() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        assert not re.search(r"\b(?:[\w-]+\.)+(?:io|com|dev|org)/[\w-]+/", text.replace("app.kubernetes.io/", "")), path
    assert {container["image"] for container in CONTAINERS} == {"go-cache-safeguard:0.1.0"}


def environ_of(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}


@pytest.mark.real
def test_the_jobs_commands_work_here_with_its_environment(newest_cache: GoCache, tmp_path: Path) -> None:
    folders = {mount["mountPath"]: tmp_path / mount["name"] for mount in CONTAINERS[0]["volumeMounts"]}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    environ = dict(_moved(environ_of(CONTAINERS[0]), folders))
    Path(environ["TMPDIR"]).mkdir(parents=True, exist_ok=True)
    shutil.move(newest_cache.root, environ["GOCACHE"])
    for path in sorted(Path(environ["GOCACHE"]).glob("??/*"))[::9]:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    guard = Safeguard(newest_cache, tmp_path / "state" / "go-cache-safeguard", environ)
    for container in CONTAINERS:
        done = guard.run(*container["command"][1:])
        assert done.returncode == 0, (container["name"], done.stdout, done.stderr)
    assert [one["state"] for one in guard.json("ops", "list", "--all")["operations"]] == ["DONE"]


def _moved(environ: dict[str, str], folders: dict[str, Path]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        head, path = ("file://", value[7:]) if value.startswith("file://") else ("", value)
        mount = next((one for one in sorted(folders, key=len, reverse=True) if path.startswith(one)), None)
        yield name, value if mount is None else f"{head}{folders[mount]}{path.removeprefix(mount)}"
