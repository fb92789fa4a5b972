"""`redis proxy` at the command line: what it would do, and what it refuses to begin with."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from certificates import certificates
from guardproxy import COMMAND


def run(home: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    known = {
        name: text for name, text in os.environ.items() if not name.startswith(("GO_CACHE_SAFEGUARD_", "REDISCLI"))
    }
    known |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GO_CACHE_SAFEGUARD_STATE_DIR": str(home / "state"),
        **environ,
    }
    return subprocess.run(
        [*COMMAND, "redis", "proxy", *arguments],
        cwd=home,
        env=known,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_dry_run_tells_everything_and_touches_nothing(tmp_path: Path) -> None:
    places = (
        "--listen",
        "0.0.0.0:6390",
        "--listen",
        f"unix://{tmp_path / 's'}",
        "--upstream",
        "sentinel://a,b:1/cache",
    )
    done = run(tmp_path, *places, "--workers", "3", "--dry-run", GO_CACHE_SAFEGUARD_REDIS_PROTECT="user:*")
    assert done.returncode == 0, done.stderr
    assert "would listen at 0.0.0.0:6390, guarding sentinel://a:26379,b:1/cache  (can be reached" in done.stdout
    assert done.stdout.endswith("nothing was started\n")
    assert list(tmp_path.iterdir()) == []
    done = run(tmp_path, *places, "--workers", "3", "--dry-run", "--json", GO_CACHE_SAFEGUARD_REDIS_PROTECT="user:*")
    value = json.loads(done.stdout)
    assert value["schema"] == "go-cache-safeguard/redis-proxy/1"
    assert value["routes"] == [
        {"listen": ["0.0.0.0:6390", f"unix://{tmp_path / 's'}"], "upstream": "sentinel://a:26379,b:1/cache"}
    ]
    assert (value["workers"], value["protect"], value["treatments"]["removes"]) == (3, ["user:*"], "check")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--listen", "6380"), 35, "redis_proxy.listen is not host:port"),
        (("--upstream", "redis://u:secret@h"), 35, "holds a password"),
        (("--upstream", "sentinel://h"), 35, "redis_proxy.upstream is not sentinel://"),
        (("--node", "127.0.0.1:1"), 35, "is not listen=upstream"),
        (("--node", "h:1=redis://a", "--node", "h:1=redis://b"), 35, "twice"),
        (("--node", "h:1=redis://a", "--upstream", "redis://b"), 35, "exclude each other"),
        (("--workers", "0"), 35, "redis_proxy.workers"),
        (("--tls-cert", "/nowhere"), 35, "needs both"),
        (("--tls-cert", "/nowhere", "--tls-key", "/nowhere"), 35, "cannot be read"),
        (("--set", "redis.protect=re:("), 35, "redis.protect"),
        (("--listen", "192.0.2.1:6390"), 36, "192.0.2.1:6390: Cannot assign requested address"),
        (("--listen", "no-such-host.invalid:6390"), 36, "no-such-host.invalid:6390"),
        (("--listen", "unix:///proc/s"), 36, "unix:///proc/s"),
        (("--probe", "well"), 2, "neither alive nor ready"),
        (("--probe", "alive", "--listen", "127.0.0.1:1"), 36, "[proxy-not-healthy]"),
    ],
)
def test_what_cannot_be_begun_says_why(arguments: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "secret" not in done.stderr


def test_a_key_that_others_can_read_or_that_is_of_another_certificate_is_refused(tmp_path: Path) -> None:
    made = certificates(tmp_path / "c")
    done = run(tmp_path, "--tls-cert", str(made.server.cert), "--tls-key", str(made.client.key))
    assert (done.returncode, "cannot be used" in done.stderr) == (35, True)
    made.server.key.chmod(0o644)
    done = run(tmp_path, "--tls-cert", str(made.server.cert), "--tls-key", str(made.server.key))
    assert (done.returncode, "can be read by everybody" in done.stderr) == (35, True)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    done = run(tmp_path, "--listen", f"unix://{tmp_path / 'f'}")
    assert (done.returncode, "no socket" in done.stderr) == (36, True)
    assert (tmp_path / "f").read_text() == "mine"
