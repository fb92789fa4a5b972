"""The confirm hook and tokens at the command line: who is told, who waits, and that no secret comes to light."""

import json
import re
import subprocess
import threading
from pathlib import Path

import pytest

from gocaches import GoCache
from hookservers import SECRET, HookServer, Received, hooked
from safeguard import COMMAND, Safeguard, files_of

QUICK = ("--all", "--proof", "none", "--checks", "permissions")


def variables(settings: dict[str, str]) -> dict[str, str]:
    return {f"GO_CACHE_SAFEGUARD_{key.replace('.', '_').upper()}": text for key, text in settings.items()}


def guarded(cache: GoCache, folder: Path, hook: HookServer, **more: str) -> Safeguard:
    settings = hook.settings(folder, approval__self="always", **more)
    return Safeguard(cache, folder / "state", variables(settings))


def told(received: Received) -> dict[str, str]:
    data: dict[str, str] = json.loads(received.body)["data"]
    return data


def test_a_held_clean_tells_its_hook_and_lets_go_of_the_terminal(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked() as hook:
        guard = guarded(newest_cache, tmp_path, hook)
        before = files_of(newest_cache.root)
        done = guard.run("clean", *QUICK)
        assert done.returncode == 11, done.stderr
        data = told(hook.one())
        assert data["op"] in done.stderr
        assert data["execute"] == f"go-cache-safeguard clean {data['op']}"
        assert files_of(newest_cache.root) == before
        assert guard.run("clean", data["op"]).returncode == 11  # it is told again, by the same name
        assert {one.headers["webhook-id"] for one in hook.received} == {f"{data['op']}_held"}


def test_a_command_that_waits_goes_on_when_somebody_approves_and_shows_no_secret(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    with hooked() as hook:
        guard = guarded(newest_cache, tmp_path, hook)
        del guard.settings["GO_CACHE_SAFEGUARD_APPROVAL_HOOK"]
        child = subprocess.Popen(
            [*COMMAND, "clean", *QUICK, "--confirm-hook", hook.url, "--confirm-wait", "1m"],
            cwd=newest_cache.module,
            env=guard.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        received = hook.one()
        op = told(received)["op"]
        arguments = Path(f"/proc/{child.pid}/cmdline").read_bytes() + Path(f"/proc/{child.pid}/environ").read_bytes()
        token = tmp_path / "token"
        assert guard.run("ops", "token", op, "-o", str(token)).returncode == 0
        assert guard.run("ops", "approve", op, "--token-file", str(token)).returncode == 0
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert files_of(newest_cache.root) == {}
    journal = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    for secret in (SECRET.encode(), SECRET.removeprefix("whsec_").encode(), token.read_bytes().strip()):
        assert secret not in arguments + out + err + journal + received.body
    assert b"to=ops" not in out + err + journal


def test_a_rejection_ends_the_wait(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked() as hook:
        guard = guarded(newest_cache, tmp_path, hook, approval__wait="1m")
        codes: list[tuple[int, str]] = []

        def ask() -> None:
            done = guard.run("clean", *QUICK)
            codes.append((done.returncode, done.stderr))

        asking = threading.Thread(target=ask)
        asking.start()
        op = told(hook.one())["op"]
        assert guard.run("ops", "reject", op, "--why", "not today").returncode == 0
        asking.join(60)
    ((code, said),) = codes
    assert code == 12
    assert "not today" in said


def test_a_hook_that_fails_lets_nothing_pass_and_is_told_of(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked(302) as hook:
        guard = guarded(newest_cache, tmp_path, hook)
        before = files_of(newest_cache.root)
        done = guard.run("clean", *QUICK, "--json")
    assert done.returncode == 11
    assert "its hook was not told" in done.stderr
    assert "redirects are not followed" in done.stderr
    assert files_of(newest_cache.root) == before


def test_confirm_asks_whom_the_hook_tells_although_policy_allows(newest_cache: GoCache, tmp_path: Path) -> None:
    with hooked() as hook:
        guard = guarded(newest_cache, tmp_path, hook, policy__hold_share="100%")
        assert guard.run("clean", *QUICK, "--confirm").returncode == 11
        assert "wants a person to confirm it" in str(told(hook.one())["reasons"])


def test_confirm_without_anybody_to_ask_removes_nothing(newest_cache: GoCache, tmp_path: Path) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", variables({"policy.hold_share": "100%"}))
    before = files_of(newest_cache.root)
    done = guard.run("clean", *QUICK, "--confirm")
    assert done.returncode == 2
    assert "--confirm-hook" in done.stderr
    assert files_of(newest_cache.root) == before


@pytest.mark.parametrize("url", ["http://hooks.example/x", "https://name:word@hooks.example/x", "nonsense"])
def test_a_hook_that_cannot_be_used_stops_everything_before_it_begins(
    newest_cache: GoCache, tmp_path: Path, url: str
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state")
    before = files_of(newest_cache.root)
    assert guard.run("clean", *QUICK, "--confirm-hook", url).returncode == 35
    assert files_of(newest_cache.root) == before
    assert not (tmp_path / "state" / "journal.sqlite").exists()


def test_a_repair_tells_the_hook_as_well(newest_cache: GoCache, tmp_path: Path) -> None:
    for path in newest_cache.root.glob("??/*-d"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"damaged" + path.read_bytes()[7:])
    with hooked() as hook:
        guard = guarded(newest_cache, tmp_path, hook, approval__hook="")
        done = guard.run("fsck", "--no-indexes", "--repair", "--confirm-hook", hook.url)
        assert done.returncode == 11, done.stderr
        assert told(hook.one())["op"] in done.stderr


def test_a_token_is_taken_from_a_file_a_pipe_or_a_prompt_that_does_not_show_it(
    newest_cache: GoCache, tmp_path: Path
) -> None:
    guard = Safeguard(newest_cache, tmp_path / "state", variables({"approval.self": "always"}))
    assert guard.run("clean", *QUICK).returncode == 11
    (held,) = guard.json("ops", "list")["operations"]
    token = tmp_path / "token"
    assert guard.run("ops", "token", held["op"], "-o", str(token)).returncode == 0
    text = token.read_text().strip()
    assert guard.run("clean", *QUICK, "--token-file", str(token)).returncode == 2
    code, screen = guard.type("ops", "approve", held["op"], "--token-file", "-", answers=(("not shown", "gcs1_wrong"),))
    assert (code, "gcs1_wrong" in screen) == (12, False)
    code, screen = guard.type(
        "clean", held["op"], "--token-file", "-", "--proof", "none", answers=(("not shown", text),)
    )
    assert code == 0, screen
    assert text not in screen
    assert re.search(r"DONE +op_", screen)
    again = subprocess.run(
        [*COMMAND, "clean", held["op"], "--token-file", "-"],
        env=guard.environ,
        cwd=newest_cache.module,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert again.returncode == 12
    assert text not in again.stderr
