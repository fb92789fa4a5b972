"""Approvals as people meet them: several people, an emergency, a target that changed, clocks that are wrong, tokens that are secret."""

import json
import os
import pty
import select
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from auditing import session_at
from go_cache_safeguard.approval.token import parse_token
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows.approve import approve_by_token
from go_cache_safeguard.flows.desk import Desk, NotApproved, desk_of
from go_cache_safeguard.flows.session import Session
from safeguard import COMMAND
from smallcaches import SmallCache, small_cache

OTHER = Voter("uid:4001(other)", frozenset(Role), Channel.PAGE)
THIRD = Voter("uid:4002(third)", frozenset(Role), Channel.PAGE)
REASON = "the disk is full and nobody is awake"


@dataclass
class Place:
    """A small cache, a state directory, and the command started in it; no go command is near."""

    base: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache: SmallCache = small_cache(self.base / "cache")
        self.session: Session = session_at(self.base, **self.settings)

    @property
    def desk(self) -> Desk:
        return desk_of(self.session)

    @property
    def environ(self) -> dict[str, str]:
        own = {f"GO_CACHE_SAFEGUARD_{key.replace('__', '_').upper()}": value for key, value in self.settings.items()}
        source = Path(__file__).resolve().parents[2] / "src"
        state = {"GO_CACHE_SAFEGUARD_STATE_DIR": str(self.session.state_dir), "PYTHONPATH": str(source)}
        return {**os.environ, "HOME": str(self.base / "home"), "PATH": "/usr/bin:/bin", **state, **own}

    def run(self, *words: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        environ = {**self.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        command = [*before, *COMMAND, *words]
        return subprocess.run(
            command, cwd=self.base, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        done = self.run(*words, "--json")
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def type(self, answer: str, *words: str) -> tuple[int, str]:
        """Run it at a terminal, and type this when asked."""
        main, far = pty.openpty()
        child = subprocess.Popen([*COMMAND, *words], cwd=self.base, env=self.environ, stdin=far, stdout=far, stderr=far)
        os.close(far)
        screen, asked, deadline = "", False, time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([main], [], [], 0.05)[0]:
                try:
                    screen += os.read(main, 4096).decode()
                except OSError:
                    break
            if not asked and "Type its first 8 digits" in screen:
                asked = True
                os.write(main, f"{answer}\n".encode())
        code = child.wait(60)
        os.close(main)
        return code, screen

    def clean(self, *words: str) -> str:
        """Ask for a clean of everything, which is held."""
        where = ("--gocache", str(self.cache.root), "--checks", "none", "--proof", "none", "--wait", "0s")
        done = self.run("clean", "--all", *where, *words)
        assert done.returncode == 11, done.stderr
        return max(it.id for it in self.desk.inbox().operations)

    def execute(self, op: str) -> "subprocess.CompletedProcess[str]":
        return self.run("clean", op, "--proof", "none", "--wait", "0s")

    def digest(self, op: str) -> str:
        return str(self.desk.operation(op).data["digest"])

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.cache.root.glob("??/*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {"approval__needed": "2", "approval__self": "always"})


# ---- several people, and a target that changes meanwhile


def test_two_people_approve_and_a_change_of_the_target_ends_what_they_approved(place: Place) -> None:
    op, before = place.clean(), place.files
    code, screen = place.type(place.digest(op)[:8], "ops", "approve", op)
    assert code == 0, screen
    assert f"{op} is HELD; 1 of 2 have approved it" in screen
    assert "is still held" in place.execute(op).stderr
    assert "1 of 2" in place.run("ops", "list").stdout
    assert place.json("ops", "list")["operations"][0]["ballot"]["left"] == 1
    assert place.desk.approve(op, OTHER, place.digest(op)).state is State.APPROVED
    shown = place.run("ops", "show", op).stdout
    assert f"2 of 2: {place.session.actor}, uid:4001(other)" in shown

    entry = next(path for path in place.cache.root.glob("??/*-a"))
    os.utime(entry, ns=(1, 1))
    voided = place.execute(op)
    assert voided.returncode == 12
    assert f"1 of {len(before)} files changed since it was asked for" in voided.stderr
    assert f"--replaces {op}" in voided.stderr
    assert place.files == before
    assert (place.desk.operation(op).state, place.desk.operation(op).data["void"]) == (State.CANCELLED, True)
    assert place.execute(op).returncode == 12

    again = place.clean("--replaces", op)
    assert place.desk.operation(again).data["replaces"] == op
    for who in (OTHER, THIRD):
        place.desk.approve(again, who, place.digest(again))
    assert place.execute(again).returncode == 0
    assert place.files == []
    refused = place.run("clean", "--all", "--gocache", str(place.cache.root), "--checks", "none", "--replaces", again)
    assert refused.returncode != 11


def test_what_changed_stays_where_the_settings_say_so(tmp_path: Path) -> None:
    place = Place(tmp_path, {"approval__on_change": "skip"})
    op = place.clean()
    place.desk.approve(op, OTHER, place.digest(op))
    entry = next(path for path in place.cache.root.glob("??/*-a"))
    os.utime(entry, ns=(1, 1))
    assert place.execute(op).returncode in {0, 20, 21}
    assert entry.name in place.files
    assert place.desk.operation(op).data["receipt"]["changed"] == 1


def test_another_directory_in_the_place_of_the_cache_ends_an_approval(tmp_path: Path) -> None:
    place = Place(tmp_path, {"approval__on_change": "skip"})
    op = place.clean()
    place.desk.approve(op, OTHER, place.digest(op))
    place.cache.root.rename(tmp_path / "away")
    small_cache(place.cache.root)
    done = place.execute(op)
    assert (done.returncode, place.desk.operation(op).state) == (12, State.CANCELLED)
    assert "is another directory now" in done.stderr


# ---- an emergency, and saying no


def test_a_broken_glass_is_loud_until_somebody_else_has_reviewed_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    op = place.clean()
    code, screen = place.type(place.digest(op)[:8], "ops", "break-glass", op, "--reason", REASON)
    assert code == 12
    assert "may not break the glass" in screen
    place = Place(tmp_path / "again", {"approval__break_glass": place.session.actor, "approval__needed": "3"})
    op = place.clean()
    code, screen = place.type(place.digest(op)[:8], "ops", "break-glass", op, "--reason", REASON)
    assert code == 0, screen
    assert place.execute(op).returncode == 0
    assert "NOBODY: broken glass, review due" in " ".join(place.run("ops", "list").stdout.split())
    shown = place.run("ops", "show", op).stdout
    assert f"{place.session.actor}: {REASON}" in shown
    own = place.run("ops", "review", op, "--finding", "justified", "--text", "I was right")
    assert own.returncode == 12
    assert "does not review it" in own.stderr
    audited = place.run("audit", "verify")
    assert audited.returncode == 0
    assert "nobody has reviewed it" in " ".join(audited.stdout.split())
    place.desk.review(op, OTHER, "justified", "there was no room")
    assert place.json("ops", "show", op)["ballot"]["review_due"] is False
    assert "there was no room" in place.run("ops", "show", op).stdout


def test_who_asked_takes_it_back_and_nobody_can_approve_it_then(place: Place) -> None:
    op = place.clean()
    assert place.json("ops", "cancel", op, "--why", "not needed")["state"] == "CANCELLED"
    code, screen = place.type(place.digest(op), "ops", "approve", op)
    assert code == 12
    assert "not needed" in screen
    other = place.clean()
    rejected = place.json("ops", "reject", other, "--why", "not today")
    assert (rejected["state"], rejected["data"]["why"]) == ("REJECTED", "not today")
    assert place.run("ops", "cancel", other).returncode == 12


# ---- clocks


def held(place: Place, lifetime_s: float, before: tuple[str, ...] = ()) -> str:
    """Something that waits so long by the clock that is told to `before`."""
    op = operation_id(time.time_ns() // 10**6, len(before))
    code = (
        "import sys, time; sys.path[:0] = [sys.argv[1], sys.argv[2]]; from pathlib import Path\n"
        "from auditing import session_at; from go_cache_safeguard.journal.record import Entry\n"
        "from go_cache_safeguard.flows.desk import desk_of\n"
        "steps = [Entry('REQUESTED', {'digest': 'ab' * 32}), Entry('CHECKED', {})]\n"
        "held = Entry('HELD', {'expires_s': int(time.time() + float(sys.argv[5]))})\n"
        "desk_of(session_at(Path(sys.argv[3]))).file(sys.argv[4], 'uid:4003', [*steps, held])\n"
    )
    here = Path(__file__).resolve().parents[1]
    command = [
        *before,
        sys.executable,
        "-c",
        code,
        str(here),
        str(here.parent / "src"),
        str(place.base),
        op,
        str(lifetime_s),
    ]
    subprocess.run(command, env={**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}, check=True)
    return op


def approve(place: Place, op: str, before: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """Approve with a token that somebody has minted, under another clock."""
    file = place.base / f"{op}.token"
    file.touch(0o600)
    file.write_text("gcs1_" + "A" * 43)
    return place.run("ops", "approve", op, "--token-file", str(file), before=before)


def faked(by: str) -> tuple[str, ...]:
    return ("faketime", "-f", by)


def test_a_clock_that_is_set_forward_lets_it_expire_and_setting_it_back_revives_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    op = held(place, 3600)
    assert "not given out" in approve(place, op, ()).stderr
    assert "waited too long" in approve(place, op, faked("+2h")).stderr
    assert place.desk.operation(op).state is State.EXPIRED
    for clock in ((), faked("-2h"), faked("-400d")):
        assert "is EXPIRED" in approve(place, op, clock).stderr


def test_a_clock_that_is_set_back_after_the_time_was_over_revives_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    op = held(place, 600, faked("-1h"))
    with place.session.journal() as journal:
        journal.note("progress", {})  # somebody wrote when it was over, and nobody looked at it
    assert "waited too long" in approve(place, op, faked("-1h")).stderr
    assert place.desk.operation(op).state is State.EXPIRED


def test_time_goes_on_while_the_machine_runs_whatever_its_clock_says(tmp_path: Path) -> None:
    place = Place(tmp_path)
    op = held(place, 2)
    time.sleep(2.1)
    assert "waited too long" in approve(place, op, faked("-1d")).stderr
    assert place.desk.operation(op).state is State.EXPIRED


# ---- tokens


def test_a_token_is_nowhere_but_in_its_file(tmp_path: Path) -> None:
    place = Place(tmp_path, {"approval__self": "always"})
    op = place.clean()
    file = tmp_path / "token"
    minted = place.run("ops", "token", op, "-o", str(file))
    assert minted.returncode == 0, minted.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text().strip()
    secrets = (text, text.removeprefix("gcs1_"))

    child = subprocess.Popen(
        [*COMMAND, "ops", "approve", op, "--token-file", "-"],
        cwd=place.base,
        env=place.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(f"{text}\n")
    child.stdin.flush()
    seen = b""
    while child.poll() is None:
        for name in ("cmdline", "environ"):
            try:
                seen += Path(f"/proc/{child.pid}/{name}").read_bytes()
            except OSError:
                break
    out, err = child.communicate()
    assert child.returncode == 0, err
    again = place.run("ops", "approve", op, "--token-file", str(file))
    assert again.returncode == 12

    with place.session.journal() as journal, pytest.raises(NotApproved) as refused:
        approve_by_token(place.session, journal, op, file)
    frames = refused.tb.tb_next  # without our own, which knows the secret
    told = "".join(traceback.TracebackException(NotApproved, refused.value, frames, capture_locals=True).format())
    token = parse_token(text)
    spoken = "".join(
        (out, err, again.stdout, again.stderr, minted.stdout, minted.stderr, told, repr(token), str(token))
    )
    assert "approve_by_token" in told
    kept = b"".join(path.read_bytes() for path in place.session.state_dir.rglob("*") if path.is_file())
    assert op.encode() in kept
    for secret in secrets:
        assert secret not in spoken
        assert secret.encode() not in kept
        assert secret.encode() not in seen


def test_a_token_that_could_not_be_kept_is_not_minted(place: Place) -> None:
    op = place.clean()
    taken = place.base / "taken"
    taken.write_text("mine")
    assert place.run("ops", "token", op, "-o", str(taken)).returncode == 12
    assert place.run("ops", "token", op, "-o", str(place.base / "new"), "--expires", "0s").returncode != 0
    assert taken.read_text() == "mine"
    assert not (place.base / "new").exists()
    assert [it.step for it in place.desk.records(op)] == ["REQUESTED", "CHECKED", "HELD"]
