"""Whose signature counts, and from which record on."""

from go_cache_safeguard.journal.chain import BreakKind
from go_cache_safeguard.journal.keys import handover, history, holder_at
from go_cache_safeguard.journal.law import Act, act
from go_cache_safeguard.journal.note import PLAIN, PrivateKey

LOG, OTHER_LOG = "ab" * 16, "cd" * 16
ONE, TWO, THREE = (PrivateKey(f"go-cache-safeguard/{LOG}", PLAIN, bytes((n,)) * 32) for n in (1, 2, 3))


def names(
    seq: int, new: PrivateKey, old: PrivateKey | None = None, *, by: PrivateKey | None = None, log: str = LOG
) -> Act:
    data = {"key": str(new.public)}
    if old is not None:
        data["handover"] = handover(log, by, new, old.public)
    return act(seq, None, "checkpoint-key", "uid:1(a)", data)


FIRST, SECOND, THIRD = names(3, ONE), names(9, TWO, ONE, by=ONE), names(20, THREE, TWO, by=TWO)


def test_keys_follow_each_other_when_both_signed_the_handover() -> None:
    holders, breaks = history(LOG, [act(1, None, "token-minted", "", {}), FIRST, SECOND, THIRD])
    assert breaks == []
    assert [(it.seq, it.key) for it in holders] == [(3, ONE.public), (9, TWO.public), (20, THREE.public)]
    assert [holder_at(holders, size) for size in (2, 3, 8, 9, 19, 20, 99)] == [
        None,
        ONE.public,
        ONE.public,
        TWO.public,
        TWO.public,
        THREE.public,
        THREE.public,
    ]


def test_a_key_to_which_nobody_handed_over_is_a_break() -> None:
    for wrong in (
        names(9, TWO),
        names(9, TWO, ONE),
        names(9, TWO, ONE, by=THREE),
        names(9, TWO, THREE, by=THREE),
        names(9, TWO, ONE, by=ONE, log=OTHER_LOG),
        act(9, None, "checkpoint-key", "", {"key": str(TWO.public), "handover": 3}),
        act(9, None, "checkpoint-key", "", {"key": str(TWO.public), "handover": "x"}),
    ):
        _, breaks = history(LOG, [FIRST, wrong])
        assert [(it.seq, it.kind) for it in breaks] == [(9, BreakKind.SIGNATURE)]


def test_what_is_no_key_is_a_break() -> None:
    holders, breaks = history(
        LOG, [act(3, None, "checkpoint-key", "", {"key": "k"}), act(4, None, "checkpoint-key", "", {})]
    )
    assert holders == []
    assert [it.kind for it in breaks] == [BreakKind.SIGNATURE] * 2


def test_one_key_that_the_auditor_knows_vouches_for_those_that_hand_over() -> None:
    for pinned in (ONE, TWO, THREE):
        assert history(LOG, [FIRST, SECOND, THIRD], [pinned.public])[1] == []
    stranger = PrivateKey("x", PLAIN, bytes(32)).public
    (broken,) = history(LOG, [FIRST, SECOND], [stranger])[1]
    assert broken.kind is BreakKind.SIGNATURE
    assert history(LOG, [], [stranger]) == ([], [])


def test_a_lost_key_is_accepted_by_whoever_knows_the_new_one() -> None:
    lost = [FIRST, names(9, TWO, ONE)]
    assert len(history(LOG, lost)[1]) == 1
    assert history(LOG, lost, [TWO.public])[1] == []
