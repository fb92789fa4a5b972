"""Who decides, and whether somebody who is named elsewhere is meant."""

from go_cache_safeguard.approval.voter import Channel, Role, Voter, is_one_of, one_person

BOB = Voter("user:bob", frozenset({Role.APPROVER}), Channel.PAGE, ("uid:1001",))


def test_a_person_is_among_those_named_by_any_of_their_names() -> None:
    assert is_one_of(BOB, ["user:alice", "UID:1001(bob)"])
    assert not is_one_of(BOB, ["user:alice", "uid:1000", "none@web1", ""])


def test_who_asked_is_the_voter_somebody_else_or_not_known() -> None:
    assert one_person("uid:1001(robert)", BOB.principal, BOB.also) is True
    assert one_person("uid:1000(bob)", BOB.principal, BOB.also) is False
    assert one_person("uid:1001(bob)@web1", BOB.principal, BOB.also) is None
