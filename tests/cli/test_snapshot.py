"""The story of `snapshot create` and `verify`: bytes that depend on nothing but the cache, and plain tools that check them."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from otherusers import NOBODY, reveal
from safeguard import COMMAND
from smallcaches import SmallCache, small_cache

AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
"""Nobody, who may read Python wherever it is installed, also below root's home directory."""
SOURCE = Path(__file__).resolve().parents[2] / "src"


def start(
    base: Path, *arguments: str | Path, env: Mapping[str, str] | None = None, within: tuple[str, ...] = (), **more: Any
) -> "subprocess.Popen[str]":
    """The command as a process of its own; its state lies below `base`."""
    environ = {
        **os.environ,
        "PYTHONPATH": f"{SOURCE}",
        "GO_CACHE_SAFEGUARD_STATE_DIR": f"{base / 'state'}",
        **(env or {}),
    }
    return subprocess.Popen(
        [*within, *COMMAND, "snapshot", *map(str, arguments)],
        cwd=base,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def run(base: Path, *arguments: str | Path, code: int = 0, **more: Any) -> tuple[str, str]:
    """Run it to its end, demand an exit code, and give what it said on stdout and stderr."""
    process = start(base, *arguments, **more)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


def tool(cwd: Path, *command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cache_at(base: Path) -> SmallCache:
    base.mkdir(exist_ok=True)
    return small_cache(base / "cache", shards=4, pairs=3, programs=2, at_ns=1_700_000_000 * 10**9)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.root
def test_the_same_cache_gives_the_same_bytes_for_anybody_anywhere_at_any_time(tmp_path: Path) -> None:
    reveal(tmp_path)
    first = cache_at(tmp_path / "one")
    (first.root / "fuzz/m/F").mkdir(parents=True)
    (first.root / "fuzz/m/F/é").write_bytes(b"go test fuzz v1\n")
    run(tmp_path / "one", "create", "--gocache", first.root, "-o", "a.tar")
    expected = (tmp_path / "one/a.tar").read_bytes()

    other = tmp_path / "a longer name/of another/directory"
    other.mkdir(parents=True)
    for path in sorted(first.root.rglob("*"), reverse=True):  # made in another order, by hand
        if path.is_file():
            target = other / "cache" / path.relative_to(first.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    for path in (other / "cache").rglob("*"):
        os.utime(path.parent)
    worlds: list[dict[str, Any]] = [
        {"env": {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}, "umask": 0o000},
        {"env": {"LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns", "PYTHONUTF8": "0"}, "umask": 0o077},
        {"env": {"LC_ALL": "POSIX", "TZ": "UTC", "HOME": "/nonexistent"}, "umask": 0o022, "within": AS_NOBODY},
    ]
    for number, world in enumerate(worlds):
        if "within" in world:
            for path in (other, *other.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        run(other, "create", "--gocache", other / "cache", "-o", f"{number}.tar", **world)
        assert (other / f"{number}.tar").read_bytes() == expected
        mode = (other / f"{number}.tar").stat().st_mode & 0o777
        assert mode == 0o666 & ~world["umask"]


def test_plain_tools_check_it_and_unpack_it_with_every_time(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    os.utime(cache.root / min(cache.contents), ns=(0, 1_700_000_000_123_456_789))
    for name in ("w.tar", "w.tar.zst"):
        run(tmp_path, "create", "--gocache", cache.root, "-o", name, "--sha256")
        assert tool(tmp_path, "sha256sum", "-c", f"{name}.sha256") == f"{name}: OK\n"
        out = tmp_path / f"out-{name}"
        out.mkdir()
        said = subprocess.run(["tar", "xf", tmp_path / name], cwd=out, capture_output=True, text=True, check=True)
        assert said.stderr == ""
        assert tool(out, "sha256sum", "-c", f"../{name}.manifest.sha256") == "snapshot/MANIFEST.json: OK\n"
        tool(out / "snapshot", "sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS")
        for path in cache.root.rglob("*"):
            if path.is_file():
                copy = out / "snapshot/files" / path.relative_to(cache.root)
                assert copy.read_bytes() == path.read_bytes()
                assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns
                assert copy.stat().st_mode == path.stat().st_mode
        manifest = json.loads((out / "snapshot/MANIFEST.json").read_bytes())
        assert manifest["files"] == len([path for path in cache.root.rglob("*") if path.is_file()])
        assert all(entry[3].endswith("Z") for entry in manifest["entries"])
        run(tmp_path, "verify", name)
    assert (tmp_path / "out-w.tar/snapshot/MANIFEST.json").read_bytes() == (
        tmp_path / "out-w.tar.zst/snapshot/MANIFEST.json"
    ).read_bytes()


def test_a_signature_is_made_kept_and_demanded(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    out, err = run(tmp_path, "keygen", "-o", "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    private = (tmp_path / "key").read_text()
    assert private.splitlines()[1] not in out + err
    assert "exists" in run(tmp_path, "keygen", "-o", "key", code=2)[1]
    assert (tmp_path / "key").read_text() == private
    run(tmp_path, "keygen", "-o", "other")

    run(tmp_path, "create", "--gocache", cache.root, "-o", "w.tar", "--sign", "key")
    run(tmp_path, "create", "--gocache", cache.root, "-o", "bare.tar")
    tool(tmp_path, "tar", "xf", "w.tar")
    said = tool(
        tmp_path,
        *("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin"),
        *("-sigfile", "w.tar.manifest.sig", "-in", "snapshot/MANIFEST.json"),
    )
    assert "Signature Verified Successfully" in said
    assert "PASS    signature" in run(tmp_path, "verify", "w.tar", "--key", "key.pub")[0]
    assert "BLOCK   signature" in run(tmp_path, "verify", "w.tar", "--key", "other.pub", code=10)[0]
    assert "not signed" in run(tmp_path, "verify", "bare.tar", "--key", "key.pub", code=10)[0]
    assert "nobody looked by whom" in run(tmp_path, "verify", "w.tar")[0]
    assert "no public key" in run(tmp_path, "verify", "w.tar", "--key", "key", code=2)[1]
    (tmp_path / "w.tar.manifest.sig").write_bytes(bytes(64))
    assert "BLOCK   signature" in run(tmp_path, "verify", "w.tar", "--key", "key.pub", code=10)[0]


def test_verify_names_what_is_damaged_and_tells_damage_from_what_cannot_be_read(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    run(tmp_path, "create", "--gocache", cache.root, "-o", "w.tar")
    sound = (tmp_path / "w.tar").read_bytes()
    name, content = max(cache.contents.items(), key=lambda item: len(item[1]))
    at = sound.index(content)

    (tmp_path / "w.tar").write_bytes(sound[:at] + b"?" + sound[at + 1 :])
    document = json.loads(run(tmp_path, "verify", "w.tar", "--json", code=10)[0])
    verdicts = {verdict["check"]: verdict for verdict in document["verdicts"]}
    assert {check: verdict["outcome"] for check, verdict in verdicts.items()} == {
        "archive": "BLOCK",
        "contents": "BLOCK",
    }
    assert any(name in line for line in verdicts["contents"]["evidence"])

    (tmp_path / "w.tar").write_bytes(sound[: len(sound) // 2])
    assert "ends early" in run(tmp_path, "verify", "w.tar", code=10)[0]
    (tmp_path / "w.tar").write_bytes(sound)
    assert "PASS    archive" in run(tmp_path, "verify", "w.tar")[0]
    for ending in (".sha256", ".manifest.sha256"):
        beside = tmp_path / f"w.tar{ending}"
        true = beside.read_bytes() if beside.exists() else None
        beside.write_text("?\n")
        assert "UNKNOWN archive" in run(tmp_path, "verify", "w.tar", code=13)[0]
        beside.write_text(f"{'0' * 64}  {'w.tar' if true is None else 'snapshot/MANIFEST.json'}\n")
        assert "BLOCK   archive" in run(tmp_path, "verify", "w.tar", code=10)[0]
        beside.unlink()
    assert "WARN    archive" in run(tmp_path, "verify", "w.tar")[0]
    (tmp_path / "folder").mkdir()
    assert "UNKNOWN contents" in run(tmp_path, "verify", "folder", code=13)[0]


def test_a_plan_makes_a_snapshot_of_its_entries_only(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    wanted = sorted(cache.contents)[:5]
    (tmp_path / "plan.json").write_bytes(cache.plan(wanted).data)
    document = json.loads(run(tmp_path, "create", "plan.json", "-o", "w.tar", "--json")[0])
    listed = tool(tmp_path, "tar", "tf", "w.tar").splitlines()
    assert [name.removeprefix("snapshot/files/").removesuffix("/tool") for name in listed[:-2]] == wanted
    assert document["files"] == 5
    assert document["skipped"] == []


def test_a_module_cache_keeps_what_go_cannot_make_again_without_the_network(tmp_path: Path) -> None:
    top = tmp_path / "mod"
    for name in (
        "m@v1.0.0/go.mod",
        "m@v1.0.0/yarn.lock",
        "cache/download/m/@v/v1.0.0.zip",
        "cache/download/m/@v/v1.0.0.lock",
        "cache/download/sumdb/sum.example.org/latest",
        "cache/vcs/0123/config",
        "cache/lock",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "m@v1.0.0/go.mod").chmod(0o444)
    document = json.loads(run(tmp_path, "create", "--modcache", "mod", "-o", "m.tar", "--json")[0])
    assert document["kind"] == "go-module-cache"
    assert {one["name"] for one in document["skipped"]} == {
        "cache/vcs",
        "cache/lock",
        "cache/download/m/@v/v1.0.0.lock",
    }
    listing = tool(tmp_path, "tar", "tvf", "m.tar")
    assert "-r--r--r--" in listing
    assert "yarn.lock" in listing
    assert "sum.example.org/latest" in listing


def test_what_cannot_be_done_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    (tmp_path / "there.tar").write_text("somebody's work")
    cases: list[tuple[tuple[str | Path, ...], int, str]] = [
        (("--gocache", cache.root, "-o", "there.tar"), 2, "never overwritten"),
        (("--gocache", cache.root, "-o", cache.root / "00/w.tar"), 2, "lies in the cache itself"),
        (("--gocache", cache.root, "-o", "no/w.tar"), 2, "cannot be entered"),
        (("--gocache", tmp_path, "-o", "w.tar"), 36, "not a Go build cache"),
        (("--modcache", cache.root, "-o", "w.tar"), 36, "not a Go module cache"),
        (("--gocache", cache.root, "--modules", "-o", "w.tar"), 2, "one thing"),
        (("--gocache", cache.root, "-o", "w.tar", "--sign", "there.tar"), 2, "no private key"),
        (("gone.json", "-o", "w.tar"), 12, "cannot be read"),
    ]
    for arguments, code, said in cases:
        assert said in run(tmp_path, "create", *arguments, code=code)[1]
    assert names(tmp_path) == ["there.tar"]
    assert (tmp_path / "there.tar").read_text() == "somebody's work"


def test_the_journal_knows_the_snapshot_and_is_not_needed_for_it(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    document = json.loads(run(tmp_path, "create", "--gocache", cache.root, "-o", "w.tar", "--json")[0])
    log = subprocess.run(
        [*COMMAND, "audit", "log", "--json"],
        env={**os.environ, "PYTHONPATH": f"{SOURCE}", "GO_CACHE_SAFEGUARD_STATE_DIR": f"{tmp_path / 'state'}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert document["manifest"] in log
    assert document["content"] in log
    (tmp_path / "nodir").write_text("")
    _, err = run(
        tmp_path,
        "create",
        "--gocache",
        cache.root,
        "-o",
        "v.tar",
        env={"GO_CACHE_SAFEGUARD_STATE_DIR": f"{tmp_path / 'nodir/x'}"},
    )
    assert "could not be noted in the journal" in err
    run(tmp_path, "verify", "v.tar")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    cache = cache_at(tmp_path)
    for one in range(2000):
        (cache.root / f"03/03{one:062x}-d").write_bytes(bytes(100_000))
    process = start(tmp_path, "create", "--gocache", cache.root, "-o", "w.tar")
    while not (tmp_path / "w.tar.partial").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert names(tmp_path) == []


def test_a_cache_that_is_written_all_the_time_gives_a_snapshot_that_is_whole(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    for one in range(300):
        (cache.root / f"03/03{one:062x}-d").write_bytes(bytes(1000))
    done = threading.Event()

    def rewrite() -> None:
        number = 0
        while not done.is_set():
            number += 1
            for one in range(0, 300, 3):
                (cache.root / f"03/03{one:062x}-d").write_bytes(bytes([number % 256]) * (number % 5000))
            (cache.root / f"03/03{number % 300:062x}-a").write_bytes(b"new")
            (cache.root / f"03/03{(number + 150) % 300:062x}-a").unlink(missing_ok=True)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        document = json.loads(run(tmp_path, "create", "--gocache", cache.root, "-o", "w.tar", "--json")[0])
    finally:
        done.set()
        writer.join()
    run(tmp_path, "verify", "w.tar")
    tool(tmp_path, "tar", "xf", "w.tar")
    tool(tmp_path / "snapshot", "sha256sum", "-c", "--quiet", "SHA256SUMS")
    for one in range(0, 300, 3):
        path = tmp_path / f"snapshot/files/03/03{one:062x}-d"
        assert not path.exists() or len(set(path.read_bytes())) <= 1, "half of one write and half of another"
    assert {one["why"] for one in document["skipped"]} <= {
        "it was rewritten while it was read",
        "it was removed while the snapshot was made",
    }
