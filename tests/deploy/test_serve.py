"""The approval desk as a service: the unit is valid, locked down and consistent, and what it starts says that it is ready."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from certificates import certificates
from docs.test_commands import understand
from go_cache_safeguard.config.layer import Place, environ_layer, toml_layer
from go_cache_safeguard.config.resolve import resolve
from go_cache_safeguard.core.errors import ExitCode
from go_cache_safeguard.web.opening import fronts_of
from gocaches import REPOSITORY
from webserver import CHEAP, COMMAND, environ, free_port

FOLDER = REPOSITORY / "deploy" / "serve"
UNIT = FOLDER / "go-cache-safeguard-serve.service"


def unit() -> dict[str, list[str]]:
    """Keys of the unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def variables(state: str, credentials: str) -> dict[str, str]:
    """The environment that it gives."""
    given = dict(text.split("=", 1) for text in unit()["Environment"])
    return {name: value.replace("%S", state).replace("%d", credentials) for name, value in given.items()}


def test_systemd_understands_the_unit_and_finds_it_locked_down(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("go-cache-safeguard")
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/usr/local/bin/go-cache-safeguard", str(program)))
    verify = ["systemd-analyze", "verify", "--man=no", str(here)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    judge = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)]
    told = subprocess.run(judge, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 0, told.stdout


def test_the_unit_says_what_the_program_says() -> None:
    keys = unit()
    understand(keys["ExecStart"][0].replace("/usr/local/bin/", ""))
    settings = resolve([environ_layer(variables("/s", "/d"))])
    assert settings.text("serve.tls_key") == "/d/" + keys["LoadCredential"][0].split(":")[0]
    assert settings.text("state.dir") == f"/s/{keys['StateDirectory'][0]}"
    assert {int(word) for word in keys["RestartPreventExitStatus"][0].split()} == {ExitCode.USAGE, ExitCode.CONFIG}
    assert int(keys["TimeoutStopSec"][0]) > settings.seconds("serve.drain")
    assert int(keys["LimitNOFILE"][0]) > 2 * settings.count("serve.connections")


def test_the_example_of_settings_fits_together() -> None:
    path = FOLDER / "config.toml"
    config = resolve([toml_layer(Place.SYSTEM, path.read_bytes(), str(path)), environ_layer(variables("/s", "/d"))])
    urls, secure = fronts_of(config)
    assert secure
    assert {front.origin for front in urls.values()} == {"https://safeguard.example.org:8443"}
    lines = (FOLDER.parent / "redis" / "go-cache-safeguard.sysusers").read_text().splitlines()
    assert [shlex.split(line)[1] for line in lines if line.startswith("u ")] == unit()["User"] == unit()["Group"]


def test_what_it_starts_says_that_it_is_ready(tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls")
    (tmp_path / "tls-key").symlink_to(made.server.key)
    (tmp_path / "go-cache-safeguard").mkdir(mode=0o700)
    given = variables(str(tmp_path), str(tmp_path))
    settings = {**CHEAP, "serve.listen": f"127.0.0.1:{free_port()}", "serve.tls_cert": str(made.server.cert)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        whole = {**environ(tmp_path, settings), **given, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([*COMMAND, "serve"], env=whole, stdout=log, stderr=log, cwd=os.fspath(tmp_path))
        try:
            assert b"READY=1" in manager.recv(4096)
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0, (tmp_path / "log").read_text()
