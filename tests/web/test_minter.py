"""A token that is redeemed at a terminal of the server's own machine: whoever minted it must still be let in as an approver."""

from pathlib import Path

import pytest

from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.cli import options
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.approve import approve_by_token, mint_token, token_in
from go_cache_safeguard.flows.clean import Held, clean
from go_cache_safeguard.flows.desk import NotApproved
from go_cache_safeguard.flows.progress import Silent
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.web.people import people_in_file
from smallcaches import small_cache


def held(base: Path) -> tuple[Session, str]:
    """A session that may approve what it asks for, and something that it has held."""
    given = {"state.dir": f"{base}/state", "approval.self": "always", "audit.checkpoint": "never"}
    environ = {"HOME": str(base)}
    config = load_config(environ=environ, cwd=base, home=base, arguments=given, system=base / "none")
    session = Session(config, environ, base, Silent())
    plan = small_cache(base / "cache", shards=1, pairs=1, at_ns=1).plan()
    passing = [Verdict("synthetic", Outcome.PASS, "nothing was asked")]
    with pytest.raises(Held):
        clean(session, plan, lambda: passing, Manner(wait_s=0, prover=None), None, always_ask=True)
    with session.journal(read_only=True) as journal:
        return session, journal.operations()[-1].id


def test_a_token_of_somebody_who_was_disabled_since_counts_no_more_at_the_terminal(tmp_path: Path) -> None:
    session, op = held(tmp_path)
    assert options.barred(session) is None, "nobody is let in here, and no database is made"
    people = people_in_file(session.state_dir / "people.sqlite")
    people.add("", "me", frozenset({Role.APPROVER}), 1)
    people.link("", "me", session.actor)
    file = tmp_path / "token"
    with session.journal() as journal:
        mint_token(session, journal, op, file, lifetime_s=600)
        people.change("", "me", active=False)
        with pytest.raises(NotApproved, match="not let in as an approver any more"):
            approve_by_token(session, journal, op, file, barred=options.barred(session))
        people.change("", "me", active=True)
        done = approve_by_token(session, journal, op, file, barred=options.barred(session))
    assert done.state is State.APPROVED
    people.close()


def test_the_hint_names_where_a_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "none"
    file.write_text("nonsense")
    file.chmod(0o600)
    with pytest.raises(NotApproved) as here:
        token_in(file, "op_1")
    with pytest.raises(NotApproved) as there:
        token_in(file, "op_1", "https://safeguard.example.org")
    assert "ops token op_1" in here.value.hint
    assert "ops token" not in there.value.hint
    assert "https://safeguard.example.org: POST /api/v1/operations/op_1/token" in there.value.hint
