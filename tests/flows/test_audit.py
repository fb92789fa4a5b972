"""What an audit finds: nine kinds of tampering, each told apart; histories that are unlawful; and what it cannot know."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditing import REMOVED, Hand, audited, kinds, session_at, write_notes, write_operation
from go_cache_safeguard.core.errors import ExitCode, UsageFailure
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows.audit import audit, keys_in
from go_cache_safeguard.flows.audit_export import export_bundle
from go_cache_safeguard.flows.audit_repair import NotRepairable, plan_repair, repair
from go_cache_safeguard.flows.checkpoint import checkpoint
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.journal.checkpoint import origin_of
from go_cache_safeguard.journal.note import PLAIN, Note, PrivateKey, sign
from go_cache_safeguard.journal.seal import Seal, parse_seal, seal_line
from go_cache_safeguard.journal.store import JournalTampered


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A journal of 9 records, of which the first 8 are signed, and then 6 more of an operation, signed as well."""
    session = session_at(tmp_path)
    write_notes(session, 8)
    Hand(session).keep(tmp_path / "before")
    with session.journal() as journal:
        assert checkpoint(session.config, journal)
    write_operation(session, 1)
    return session


def truncate(hand: Hand, _base: Path) -> None:
    hand.sql("DELETE FROM record WHERE seq > 12")


def roll_back(hand: Hand, base: Path) -> None:
    hand.bring_back(base / "before", "journal.sqlite", "journal.sqlite.head")


def sign_anew(hand: Hand, _base: Path) -> None:
    seals = [parse_seal(line) for line in hand.seals.read_bytes().splitlines(keepends=True)]
    key = PrivateKey(origin_of(hand.seals.stem), PLAIN, b"\x07" * 32)
    lines = []
    for seal in seals:
        assert isinstance(seal, Seal)
        text = seal.checkpoint.text
        lines.append(seal_line(replace(seal, note=Note(text, (sign(text, key),)))))
    hand.seals.write_bytes(b"".join(lines))


def fork(hand: Hand, _base: Path) -> None:
    hand.rewrite(5, lambda record: replace(record, actor="uid:2(mallory)"))


def edit(hand: Hand, _base: Path) -> None:
    hand.sql("UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"n\":3', '\"n\":4') AS BLOB) WHERE seq = 4")


def swap(hand: Hand, _base: Path) -> None:
    hand.sql(
        "UPDATE record SET seq = -1 WHERE seq = 3",
        "UPDATE record SET seq = 3 WHERE seq = 6",
        "UPDATE record SET seq = 6 WHERE seq = -1",
    )


def duplicate(hand: Hand, _base: Path) -> None:
    hand.sql("INSERT INTO record SELECT 16, op, body, hash FROM record WHERE seq = 4")


def lose(hand: Hand, _base: Path) -> None:
    hand.sql("DELETE FROM record WHERE seq = 4")


def reorder(hand: Hand, _base: Path) -> None:
    hand.sql(
        "UPDATE record SET seq = -1 WHERE seq = 3",
        "UPDATE record SET seq = 3 WHERE seq = 4",
        "UPDATE record SET seq = 4 WHERE seq = 5",
        "UPDATE record SET seq = 5 WHERE seq = -1",
    )


NINE = {
    "truncated": (truncate, ExitCode.JOURNAL_SHORTER),
    "rolled-back": (roll_back, ExitCode.JOURNAL_SHORTER),
    "signature": (sign_anew, ExitCode.JOURNAL_SIGNATURE),
    "forked": (fork, ExitCode.JOURNAL_FORKED),
    "edited": (edit, ExitCode.JOURNAL_TAMPERED),
    "swapped": (swap, ExitCode.JOURNAL_TAMPERED),
    "duplicated": (duplicate, ExitCode.JOURNAL_TAMPERED),
    "missing": (lose, ExitCode.JOURNAL_TAMPERED),
    "reordered": (reorder, ExitCode.JOURNAL_TAMPERED),
}


def test_what_nobody_touched_is_whole(session: Session) -> None:
    found = audited(session)
    assert (found.breaks, found.doubts, found.code) == ((), (), ExitCode.DONE)
    assert (found.records, found.signed, found.checkpoints) == (15, 15, 2)
    assert found.notes[0].startswith("nobody but this directory knows")


@pytest.mark.parametrize("kind", NINE)
def test_each_of_nine_kinds_of_tampering_is_told_apart(kind: str, session: Session, tmp_path: Path) -> None:
    tamper, code = NINE[kind]
    tamper(Hand(session), tmp_path)
    found = audited(session)
    assert kinds(found) == {kind}
    assert found.code is code


@pytest.mark.parametrize("kind", ["truncated", "rolled-back", "forked", "edited", "missing"])
def test_what_was_tampered_with_is_not_signed(kind: str, session: Session, tmp_path: Path) -> None:
    NINE[kind][0](Hand(session), tmp_path)
    before = Hand(session).seals.read_bytes()
    with session.journal() as journal, pytest.raises(Exception, match="journal") as refused:
        checkpoint(session.config, journal, thorough=True)
    assert getattr(refused.value, "exit_code", None) is ExitCode.JOURNAL_TAMPERED
    assert Hand(session).seals.read_bytes() == before


@pytest.mark.parametrize("tamper", [roll_back, fork])
def test_not_even_at_the_end_of_an_operation(
    tamper: Callable[[Hand, Path], None], session: Session, tmp_path: Path
) -> None:
    tamper(Hand(session), tmp_path)
    before = Hand(session).seals.read_bytes()
    write_operation(session, 2)
    assert Hand(session).seals.read_bytes() == before


def test_a_key_that_the_auditor_knows_tells_a_journal_that_was_made_anew(session: Session, tmp_path: Path) -> None:
    key = audited(session).key
    (pinned,) = keys_in(key)
    (tmp_path / "elsewhere").mkdir()
    forged = session_at(tmp_path / "elsewhere")
    write_notes(forged, 8)
    write_operation(forged, 1)
    for one, kind in ((session, set[str]()), (forged, {"signature"})):
        with one.journal(read_only=True) as journal:
            assert kinds(audit(one.config, journal, pinned=[pinned])) == kind
    with pytest.raises(UsageFailure, match="not a public key"):
        keys_in("nonsense")


def test_without_checkpoints_a_key_that_the_auditor_knows_says_nothing(tmp_path: Path) -> None:
    session = session_at(tmp_path, audit__keys="PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    write_notes(session, 3)
    assert audited(session).code is ExitCode.COULD_NOT_TELL


def test_checkpoints_that_are_gone_are_a_doubt(session: Session) -> None:
    Hand(session).seals.unlink()
    found = audited(session)
    assert (found.code, kinds(found)) == (ExitCode.COULD_NOT_TELL, set())
    assert "no checkpoint lies beside it" in found.doubts[0]


def test_a_changed_line_among_the_checkpoints_is_named(session: Session) -> None:
    seals = Hand(session).seals
    first, second = seals.read_bytes().splitlines(keepends=True)
    seals.write_bytes(first.replace(b"edge", b"egde") + second)
    found = audited(session)
    assert kinds(found) == {"signature"}
    assert "line 1 of the kept checkpoints" in found.breaks[0].text


def test_a_torn_last_line_counts_for_nothing_and_goes_with_the_next_checkpoint(session: Session) -> None:
    seals = Hand(session).seals
    whole = seals.read_bytes()
    seals.write_bytes(whole + whole[:70])
    found = audited(session)
    assert found.code is ExitCode.DONE
    assert any("not finished" in note for note in found.notes)
    write_operation(session, 2)
    assert seals.read_bytes().startswith(whole)
    assert len(seals.read_bytes().splitlines()) == 3
    assert audited(session).notes == audited(session).notes[:1]


def test_a_journal_that_was_exchanged_for_a_new_one_is_a_doubt(session: Session) -> None:
    for path in (Hand(session).journal, Hand(session).head):
        path.unlink()
    write_notes(session, 3)
    found = audited(session)
    assert found.code is ExitCode.COULD_NOT_TELL
    assert "checkpoints of another journal" in found.doubts[0]


def test_clocks_that_jump_break_nothing(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_notes(session, 8)
    hand = Hand(session)
    hand.rewrite(4, lambda record: replace(record, at="1970-01-01T00:00:00.000000Z"))
    hand.rewrite(6, lambda record: replace(record, at="9999-12-31T23:59:59.999999Z"))
    write_operation(session, 1)
    found = audited(session)
    assert (found.breaks, found.code) == ((), ExitCode.DONE)


def test_histories_that_are_unlawful_have_an_exit_code_of_their_own(tmp_path: Path) -> None:
    session = session_at(tmp_path, approval__self="never")
    op = operation_id(7, 7)
    with session.journal() as journal:
        for state, data in (
            (State.REQUESTED, {"digest": "d" * 64}),
            (State.CHECKED, {}),
            (State.HELD, {}),
            (State.APPROVED, {"approver": session.actor, "channel": "terminal"}),
            (State.REMOVING, {}),
        ):
            journal.advance(op, state, data)
    found = audited(session)
    assert (kinds(found), found.code) == ({"own-approval"}, ExitCode.UNLAWFUL)
    assert audited(session_at(tmp_path, approval__self="always")).code is ExitCode.DONE


def test_the_newest_state_of_an_old_journal_without_any_checkpoint_is_good(tmp_path: Path) -> None:
    session = session_at(tmp_path, audit__checkpoint="never", audit__every="0")
    write_operation(session, 1)
    found = audited(session)
    assert (found.code, found.records, found.checkpoints, found.key) == (ExitCode.DONE, 6, 0, "")
    again = session_at(tmp_path)
    write_operation(again, 2)
    assert (audited(again).records, audited(again).signed) == (13, 13)


# ---- export


def test_a_bundle_is_checked_with_bash_sha256sum_and_openssl_alone(session: Session, tmp_path: Path) -> None:
    write_notes(session, 2)
    with session.journal(read_only=True) as journal:
        made = export_bundle(session.config, journal, tmp_path / "bundle", [1, 9, 15])
        assert (made.records, made.signed, made.proofs) == (17, 15, 4)
        for wrong in (0, 16):
            with pytest.raises(UsageFailure, match=f"no record {wrong}"):
                export_bundle(session.config, journal, tmp_path / "other", [wrong])
        with pytest.raises(UsageFailure, match="cannot be written"):
            export_bundle(session.config, journal, tmp_path / "bundle", [])
    assert checked(tmp_path / "bundle").startswith("17 records, of which 15 are signed by go-cache-safeguard/")


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("records.txt", (b'"n":3', b'"n":4'), "record 4: its hash"),
        ("checkpoint.txt", (b"\n15\n", b"\n14\n"), "the signature"),
        ("proofs.txt", (b"inclusion 9 15 ", b"inclusion 8 15 "), "the proof of record 8"),
    ],
)
def test_a_bundle_that_was_changed_is_found_by_its_script(
    session: Session, tmp_path: Path, name: str, change: tuple[bytes, bytes], why: str
) -> None:
    with session.journal(read_only=True) as journal:
        export_bundle(session.config, journal, tmp_path / "bundle", [9])
    path = tmp_path / "bundle" / name
    assert change[0] in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(*change))
    assert why in checked(tmp_path / "bundle")


def checked(bundle: Path) -> str:
    done = subprocess.run(["bash", bundle / "check.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is ("WRONG" not in done.stderr)
    return done.stdout + done.stderr


def test_a_journal_that_was_never_signed_makes_no_bundle(tmp_path: Path) -> None:
    session = session_at(tmp_path)
    write_notes(session, 3)
    with session.journal(read_only=True) as journal, pytest.raises(UsageFailure, match="no signed checkpoint"):
        export_bundle(session.config, journal, tmp_path / "bundle", [])


# ---- repair


def test_a_lost_head_is_written_again_after_it_was_shown(session: Session) -> None:
    hand = Hand(session)
    hand.head.unlink()
    with session.journal() as journal:
        with pytest.raises(JournalTampered, match="head file is missing"):
            journal.note("config", {})
        plan = plan_repair(session.config, journal)
        assert (plan.head.seq, plan.step, plan.audit.signed) == (15, "DONE", 15)
        repair(journal, plan)
    found = audited(session)
    assert (found.breaks, found.records) == ((), 16)
    with session.journal(read_only=True) as journal:
        assert next(dict(it.data) for it in journal.notes("head-repaired"))["seq"] == 15


def test_a_head_that_cannot_be_read_is_lost_as_well(session: Session) -> None:
    Hand(session).head.write_bytes(b"rubbish")
    with session.journal() as journal:
        repair(journal, plan_repair(session.config, journal))
    assert audited(session).breaks == ()


@pytest.mark.parametrize("tamper", [truncate, edit, fork, lose])
def test_nothing_is_repaired_where_more_than_the_head_is_wrong(
    tamper: Callable[[Hand, Path], None], session: Session, tmp_path: Path
) -> None:
    tamper(Hand(session), tmp_path)
    Hand(session).head.unlink()
    with session.journal() as journal, pytest.raises(NotRepairable):
        plan_repair(session.config, journal)
    assert not Hand(session).head.exists()


def test_a_head_that_is_there_is_not_repaired(session: Session) -> None:
    with session.journal() as journal, pytest.raises(NotRepairable, match="is there"):
        plan_repair(session.config, journal)


def test_a_journal_that_went_on_since_it_was_shown_is_not_repaired(session: Session) -> None:
    kept = Hand(session).head.read_bytes()
    Hand(session).head.unlink()
    with session.journal() as journal:
        plan = plan_repair(session.config, journal)
    Hand(session).head.write_bytes(kept)
    write_operation(session, 2, REMOVED[:2])
    Hand(session).head.unlink()
    with session.journal() as journal, pytest.raises(JournalTampered, match="changed since"):
        repair(journal, plan)


# ---- long journals


def test_a_long_journal_is_read_by_several_processes_and_a_change_in_any_part_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.journal.store._MANY", 50)
    session = session_at(tmp_path)
    write_notes(session, 60)
    write_operation(session, 1)
    assert (audited(session).code, audited(session).records) == (ExitCode.DONE, 67)
    shutil.copytree(session.state_dir, tmp_path / "kept")
    for seq in (1, 33, 67):
        Hand(session).sql("UPDATE record SET hash = zeroblob(32) WHERE seq = ?", values=(seq,))
        assert [(it.seq, str(it.kind)) for it in audited(session).breaks] == [(seq, "edited")]
        Hand(session).bring_back(tmp_path / "kept")
