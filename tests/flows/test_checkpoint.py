"""Signed checkpoints: when they are made, what they cost, how keys change, and the kinds of witnesses that are reached without a network."""

import os
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from auditing import REMOVED, Hand, audited, kinds, session_at, write_notes, write_operation
from go_cache_safeguard.config.layer import Place
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows import witnesses
from go_cache_safeguard.flows.checkpoint import CheckpointRefused, checkpoint, rotate
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.witness_chat import InSlack, witnesses_of
from go_cache_safeguard.flows.witnesses import InFile, InGit, InSystemLog, Peer, lines_of, seals_in
from go_cache_safeguard.journal.checkpoint import origin_of
from go_cache_safeguard.journal.merkle import Frontier, Tree
from go_cache_safeguard.journal.note import is_signed
from go_cache_safeguard.journal.sealer import Kept, Sealer, SigningKeyBad
from go_cache_safeguard.journal.store import JournalUnusable
from otherusers import NOBODY, reveal


class Listening:
    """A session whose progress is kept."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def phase(self, name: str, total: int | None = None) -> None:
        """Nothing."""

    def update(self, files: int, size: int = 0) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)


def kept(session: Session) -> Kept:
    hand = Hand(session)
    return Sealer(hand.journal, hand.seals.stem).kept()


def sizes(session: Session) -> list[int]:
    return [seal.checkpoint.size for seal in kept(session).seals]


def make(session: Session, *, thorough: bool = True) -> tuple[int, bool, tuple[str, ...]]:
    with session.journal() as journal:
        made = checkpoint(session.config, journal, thorough=thorough)
    assert made is not None
    return made.seal.checkpoint.size, made.new, made.away


# ---- when


def test_one_is_made_at_the_end_of_each_operation_and_covers_everything(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    write_notes(session, 3)
    write_operation(session, 2, REMOVED[:3])
    write_operation(session, 3)
    assert sizes(session) == [7, 19]
    with session.journal(read_only=True) as journal:
        tree = Tree(journal.leaves())
        assert journal.notes("checkpoint-key").__next__().seq == 7
    for seal in kept(session).seals:
        assert seal.checkpoint.root == tree.root(seal.checkpoint.size)
        assert seal.edge == Frontier().extend(tree.leaf(at) for at in range(seal.checkpoint.size))


def test_one_is_made_after_so_many_records(tmp_path: Path) -> None:
    session = session_at(tmp_path, audit__checkpoint="never", audit__every="4")
    write_notes(session, 9)
    assert sizes(session) == [5, 8]
    write_notes(session, 4)
    assert sizes(session) == [5, 8, 12]


def test_none_is_made_where_nobody_wants_one(tmp_path: Path) -> None:
    session = session_at(tmp_path, audit__checkpoint="never", audit__every="0")
    write_operation(session, 1)
    assert not (session.state_dir / "checkpoints").exists()


def test_nothing_new_is_not_signed_again_and_nothing_at_all_not_at_all(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    with session.journal() as journal:
        assert checkpoint(session.config, journal) is None
    write_notes(session, 3)
    assert make(session) == (4, True, ())
    assert make(session) == (4, False, ())
    assert sizes(session) == [4]


def test_many_at_once_make_one_history(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    failed: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for at in range(4):
                write_operation(session, first * 100 + at)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test names it
            failed.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    found = audited(session)
    assert (found.breaks, found.doubts, found.records) == ((), (), 12 * 6 + 1)
    assert sizes(session) == sorted(set(sizes(session)))
    assert make(session)[0] == 73


# ---- what stands in the way


def test_an_operation_ends_well_though_its_end_cannot_be_signed(tmp_path: Path) -> None:
    listening = Listening()
    session = replace(session_at(tmp_path), progress=listening)
    session.state_folder("checkpoints")
    (session.state_dir / "checkpoints").rmdir()
    (session.state_dir / "checkpoints").write_bytes(b"in the way")
    write_operation(session, 1)
    (said,) = listening.said
    assert said.startswith("no checkpoint of the journal was signed: ")
    (session.state_dir / "checkpoints").unlink()
    assert make(session)[:2] == (7, True)


def test_the_key_is_for_its_owner_only_and_one_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    key = Hand(session).seals.with_suffix(".key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    write_notes(session, 1)
    for mode, text in ((0o640, key.read_text()), (0o600, "nonsense\n")):
        key.write_text(text)
        key.chmod(mode)
        with session.journal() as journal, pytest.raises(SigningKeyBad, match="the signing key"):
            checkpoint(session.config, journal)
    key.unlink()
    key.symlink_to("/dev/null")
    with session.journal() as journal, pytest.raises(SigningKeyBad):
        checkpoint(session.config, journal)


def test_no_second_key_is_made_where_one_was(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    write_notes(session, 1)
    Hand(session).seals.with_suffix(".key").unlink()
    with session.journal() as journal, pytest.raises(CheckpointRefused, match="is gone"):
        checkpoint(session.config, journal)
    assert sizes(session) == [7]


def test_another_key_does_not_sign(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_operation(session_at(tmp_path / name), 1)
    session, other = session_at(tmp_path / "one"), session_at(tmp_path / "two")
    Hand(session).seals.with_suffix(".key").write_bytes(Hand(other).seals.with_suffix(".key").read_bytes())
    write_notes(session, 1)
    with session.journal() as journal, pytest.raises(CheckpointRefused, match="signed with the key"):
        checkpoint(session.config, journal)


def test_a_key_may_lie_elsewhere(tmp_path: Path) -> None:
    session = session_at(tmp_path, audit__key=f"{tmp_path}/keys/journal.key")
    write_operation(session, 1)
    assert (tmp_path / "keys" / "journal.key").stat().st_mode & 0o777 == 0o600
    assert not Hand(session).seals.with_suffix(".key").exists()
    assert audited(session).code is ExitCode.DONE


def test_a_checkpoint_that_was_changed_is_not_gone_on_from(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    write_notes(session, 1)
    seals = Hand(session).seals
    seals.write_bytes(seals.read_bytes().replace(b"edge", b"egde"))
    with session.journal() as journal, pytest.raises(JournalUnusable, match="newest checkpoint"):
        checkpoint(session.config, journal)


def test_what_came_after_the_last_checkpoint_must_be_as_it_was_written(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    write_notes(session, 3)
    Hand(session).sql("UPDATE record SET hash = zeroblob(32) WHERE seq = 9")
    with session.journal() as journal, pytest.raises(CheckpointRefused, match="what follows record 7"):
        checkpoint(session.config, journal)


# ---- keys


def test_a_key_is_handed_over_to_the_next_and_both_count_in_their_time(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    first = audited(session).key
    with session.journal() as journal:
        second = rotate(session.config, journal)
    write_operation(session, 2)
    found = audited(session)
    assert (found.breaks, found.doubts, found.key) == ((), (), str(second))
    assert first != found.key
    assert sizes(session) == [7, 8, 14]
    old, handed, new = kept(session).seals
    assert [is_signed(seal.note, second) for seal in (old, handed, new)] == [False, True, True]
    for pinned in (first, str(second)):
        assert audited(session_at(tmp_path, audit__keys=pinned)).code is ExitCode.DONE


def test_a_rotation_that_was_cut_short_is_finished_by_the_next_checkpoint(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    path = Hand(session).seals.with_suffix(".key")
    old = path.read_bytes()
    with session.journal() as journal:
        new = rotate(session.config, journal)
    path.write_bytes(old + path.read_bytes())
    write_operation(session, 2)
    assert audited(session).code is ExitCode.DONE
    assert is_signed(kept(session).seals[-1].note, new)
    assert len(path.read_bytes().splitlines()) == 1


def test_a_key_that_was_drawn_and_never_named_counts_for_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_operation(session_at(tmp_path / name), 1)
    session = session_at(tmp_path / "one")
    path, other = (Hand(session_at(tmp_path / name)).seals.with_suffix(".key") for name in ("one", "two"))
    old = path.read_bytes()
    path.write_bytes(old + other.read_bytes())
    write_operation(session, 2)
    assert path.read_bytes() == old
    assert (audited(session).code, audited(session).signed) == (ExitCode.DONE, 13)
    path.write_bytes(old + b"rubbish\n")
    with session.journal() as journal, pytest.raises(SigningKeyBad):
        checkpoint(session.config, journal)


def test_a_lost_key_is_replaced_and_an_audit_says_so_until_the_auditor_knows_the_new_one(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    Hand(session).seals.with_suffix(".key").unlink()
    with session.journal() as journal:
        new = rotate(session.config, journal, lost=True)
    write_operation(session, 2)
    found = audited(session)
    assert (kinds(found), found.code) == ({"signature"}, ExitCode.JOURNAL_SIGNATURE)
    assert audited(session_at(tmp_path, audit__keys=str(new))).code is ExitCode.DONE


def test_there_is_nothing_to_hand_over_before_the_first_key(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_notes(session, 2)
    with session.journal() as journal, pytest.raises(CheckpointRefused, match="no key yet"):
        rotate(session.config, journal, lost=True)


# ---- witnesses


def places(base: Path) -> dict[str, str]:
    (base / "peer").mkdir(exist_ok=True)
    if not (base / "repository").exists():
        subprocess.run(["git", "init", "-q", "--bare", base / "repository"], check=True)
    return {
        "file": f"file:{base}/kept.lines",
        "git": f"git:{base}/repository",
        "safeguard": f"safeguard:{base}/peer",
    }


def watched(base: Path, kind: str) -> Session:
    return session_at(base, audit__witnesses=places(base)[kind])


@pytest.mark.parametrize("kind", ["file", "git", "safeguard"])
def test_a_witness_is_told_and_agrees(kind: str, tmp_path: Path) -> None:
    session = watched(tmp_path, kind)
    write_operation(session, 1)
    write_operation(session, 2)
    found = audited(session)
    assert (found.breaks, found.doubts, found.notes) == ((), (), ())
    assert found.agree == ((places(tmp_path)[kind], 13),)


@pytest.mark.parametrize("kind", ["file", "git", "safeguard"])
def test_an_older_state_of_everything_is_found_by_a_witness(kind: str, tmp_path: Path) -> None:
    session = watched(tmp_path, kind)
    write_operation(session, 1)
    Hand(session).keep(tmp_path / "older")
    write_operation(session, 2)
    Hand(session).bring_back(tmp_path / "older")
    assert audited(session_at(tmp_path)).code is ExitCode.DONE  # nobody here can tell
    found = audited(session)
    assert (kinds(found), found.code) == ({"rolled-back"}, ExitCode.JOURNAL_SHORTER)


@pytest.mark.parametrize("kind", ["file", "git", "safeguard"])
def test_a_second_history_signed_with_the_stolen_key_is_found_by_a_witness(kind: str, tmp_path: Path) -> None:
    session = watched(tmp_path, kind)
    write_operation(session, 1)
    Hand(session).keep(tmp_path / "older")
    write_operation(session, 2)
    Hand(session).bring_back(tmp_path / "older")
    write_operation(session_at(tmp_path), 3)
    assert audited(session_at(tmp_path)).code is ExitCode.DONE
    found = audited(session)
    assert (kinds(found), found.code) == ({"forked"}, ExitCode.JOURNAL_FORKED)


def test_another_safeguard_does_not_sign_a_second_history(tmp_path: Path) -> None:
    session = watched(tmp_path, "safeguard")
    write_operation(session, 1)
    Hand(session).keep(tmp_path / "older")
    write_operation(session, 2)
    Hand(session).bring_back(tmp_path / "older")
    lines = (tmp_path / "peer" / "witness" / f"{Hand(session).seals.stem}.lines").read_bytes()
    write_notes(session, 1)
    (away,) = make(session)[2]
    assert "the journal has 8 records, and had 13" in away
    write_notes(session, 9)
    (away,) = make(session)[2]
    assert "are not those that it signed" in away
    assert (tmp_path / "peer" / "witness" / f"{Hand(session).seals.stem}.lines").read_bytes() == lines


def test_another_safeguard_goes_with_a_key_that_was_handed_over_and_with_no_other(tmp_path: Path) -> None:
    session = watched(tmp_path, "safeguard")
    write_operation(session, 1)
    with session.journal() as journal:
        rotate(session.config, journal)
    assert audited(session).agree[0][1] == 8
    (tmp_path / "peer" / "witness" / f"{Hand(session).seals.stem}.key").write_text(
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n"
    )
    write_notes(session, 1)
    (away,) = make(session)[2]
    assert "handed it over to nobody" in away


def test_what_another_safeguard_signed_carries_its_signature(tmp_path: Path) -> None:
    session = watched(tmp_path, "safeguard")
    write_operation(session, 1)
    lines = tmp_path / "peer" / "witness" / f"{Hand(session).seals.stem}.lines"
    assert b"go-cache-safeguard/witness/" in lines.read_bytes()
    plain = lines_of(kept(session).seals)
    lines.write_bytes(plain)
    found = audited(session)
    assert found.code is ExitCode.COULD_NOT_TELL
    assert "not signed by its key" in found.doubts[0]


@pytest.mark.parametrize("kind", ["file", "git", "safeguard"])
def test_a_witness_that_is_away_is_a_doubt_and_is_told_of_everything_later(kind: str, tmp_path: Path) -> None:
    session = watched(tmp_path, kind)
    place = Path(places(tmp_path)[kind].partition(":")[2])
    listening = Listening()
    hidden = tmp_path / "hidden"
    parent = place if kind != "file" else tmp_path / "gone"
    if kind == "file":
        parent.mkdir()
        session = session_at(tmp_path, audit__witnesses=f"file:{parent}/kept.lines")
    parent.rename(hidden)
    write_operation(replace(session, progress=listening), 1)
    assert any("it is told with the next checkpoint" in said for said in listening.said)
    found = audited(session)
    assert (found.code, found.breaks) == (ExitCode.COULD_NOT_TELL, ())
    hidden.rename(parent)
    write_operation(session, 2)
    found = audited(session)
    assert (found.code, found.agree[0][1]) == (ExitCode.DONE, 13)
    if kind != "safeguard":  # which signs the newest only
        origin = origin_of(Hand(session).seals.stem)
        witness = InFile(parent / "kept.lines") if kind == "file" else InGit(parent)
        assert [seal.checkpoint.size for seal in witness.seen(origin)] == [7, 13]


@pytest.mark.parametrize("kind", ["file", "git", "safeguard"])
def test_a_witness_that_lost_what_it_was_told_is_a_doubt(kind: str, tmp_path: Path) -> None:
    session = watched(tmp_path, kind)
    write_operation(session, 1)
    for place in (tmp_path / "kept.lines", tmp_path / "repository", tmp_path / "peer"):
        if place.exists():
            place.rename(tmp_path / f"{place.name}.away")
    places(tmp_path)
    (tmp_path / "kept.lines").touch()
    found = audited(session)
    assert (found.code, found.breaks) == (ExitCode.COULD_NOT_TELL, ())
    assert "was told of 7 records, and knows of 0" in found.doubts[0]


def test_the_files_and_the_branches_of_a_repository_stay_as_they_are(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git = ["git", "-C", str(work), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    (work / "file").write_text("one\n")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    (work / "file").write_text("two\n")
    hook = work / ".git" / "hooks" / "reference-transaction"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)

    def status() -> str:
        return subprocess.run(
            [*git, "status", "--branch", "--short"], capture_output=True, text=True, check=True
        ).stdout

    before = status()
    session = session_at(tmp_path, audit__witnesses=f"git:{work}")
    write_operation(session, 1)
    write_operation(session, 2)
    assert status() == before
    assert audited(session).agree == ((f"git:{work}", 13),)
    branch = f"refs/heads/{origin_of(Hand(session).seals.stem)}"
    log = subprocess.run([*git, "log", "--format=%s", branch], capture_output=True, text=True, check=True).stdout
    assert log.splitlines() == ["13 records", "7 records"]


def test_the_system_log_gets_a_line_that_can_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(f"{tmp_path}/log")
        log.settimeout(10)
        monkeypatch.setattr(witnesses, "_LOG", tmp_path / "log")
        session = session_at(tmp_path, audit__witnesses="syslog")
        write_operation(session, 1)
        line = log.recv(1 << 16)
    assert line.startswith(b"<133>go-cache-safeguard checkpoint ")
    assert b"\n" not in line
    found = audited(session)
    assert (found.code, found.breaks) == (ExitCode.COULD_NOT_TELL, ())
    assert "cannot be read here" in found.doubts[0]
    lines = tmp_path / "syslog"
    lines.write_bytes(b"Nov 22 host other: x\nNov 22 host " + line[5:] + b"\nNov 22 host other: y\n")
    assert audited(session, seen=[lines]).code is ExitCode.DONE
    named = session_at(tmp_path, audit__witnesses=f"syslog:{lines}")
    assert audited(named).agree == ((f"syslog:{lines}", 7),)
    assert len(InSystemLog(lines).seen(origin_of(Hand(session).seals.stem))) == 1


def test_a_system_log_that_nobody_listens_to_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "_LOG", tmp_path / "none")
    session = session_at(tmp_path, audit__witnesses="syslog")
    write_operation(session, 1)
    assert "witness syslog: No such file" in make(session)[2][0]


def test_lines_of_others_and_rubbish_are_passed_over(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_operation(session, 1)
    seals = kept(session).seals
    lines = (
        b'\xff\xfe go-cache-safeguard checkpoint "x"\n' + lines_of(seals) + b'go-cache-safeguard checkpoint "\\u00"\n'
    )
    assert [seal.note for seal in seals_in(lines, origin_of(Hand(session).seals.stem))] == [seals[0].note]
    assert seals_in(lines, "another") == []


def test_a_line_that_was_cut_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    session = watched(tmp_path, "file")
    write_operation(session, 1)
    lines = tmp_path / "kept.lines"
    lines.write_bytes(lines.read_bytes()[:-40])  # the disk was full
    write_operation(session, 2)
    assert audited(session).agree == ((f"file:{lines}", 13),)
    assert audited(session).code is ExitCode.DONE


def test_a_file_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine\n")
    (tmp_path / "kept.lines").symlink_to(tmp_path / "victim")
    session = watched(tmp_path, "file")
    write_operation(session, 1)
    assert len(make(session)[2]) == 1
    assert (tmp_path / "victim").read_bytes() == b"mine\n"


def test_a_pipe_in_the_place_of_a_witness_holds_nobody_up(tmp_path: Path) -> None:
    session = watched(tmp_path, "file")
    os.mkfifo(tmp_path / "kept.lines")
    write_operation(session, 1)
    assert "is not a plain file" in make(session)[2][0]
    assert "is not a plain file" in audited(session).doubts[0]


@pytest.mark.root
def test_root_writes_to_a_witness_as_its_owner(tmp_path: Path) -> None:
    reveal(tmp_path)
    places(tmp_path)
    (tmp_path / "drop").mkdir()
    for root, folders, files in os.walk(tmp_path):
        if any(part in root for part in ("repository", "peer", "drop")):
            for name in (".", *folders, *files):
                os.chown(Path(root, name), NOBODY, NOBODY)
    asked = f"file:{tmp_path}/drop/kept.lines git:{tmp_path}/repository safeguard:{tmp_path}/peer"
    session = session_at(tmp_path, audit__witnesses=asked)
    write_operation(session, 1)
    assert make(session)[2] == ()
    assert audited(session).code is ExitCode.DONE
    owners = {path.stat().st_uid for part in ("drop", "repository", "peer") for path in (tmp_path / part).rglob("*")}
    assert owners == {NOBODY}


def test_a_witness_is_named_in_one_of_six_ways(tmp_path: Path) -> None:
    session = session_at(tmp_path, audit__witnesses="  file:/a git:/b\tsafeguard:/c syslog syslog:/d slack ")
    assert session.config.origin("audit.witnesses").layer is Place.ARGUMENT
    made = witnesses_of(session.config)
    plain = [InFile(Path("/a")), InGit(Path("/b")), Peer(Path("/c")), InSystemLog(None), InSystemLog(Path("/d"))]
    assert made == [*plain, InSlack(session.config)]
    assert [one.name for one in made] == ["file:/a", "git:/b", "safeguard:/c", "syslog", "syslog:/d", "slack"]
    for wrong in ("file", "file:a", "http://x", "sys", "file:/a,git:/b x", "slack:/a", "slack:", "slacks"):
        with pytest.raises(Failure):
            session_at(tmp_path, audit__witnesses=wrong)
