"""The guard of a process: what it lets through without judging, and whom it asks."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redisface
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.redis.address import Address
from go_cache_safeguard.redis.call import Answered, Call, Held, Refused
from go_cache_safeguard.redis.connection import Connection
from go_cache_safeguard.redis.resp import encode
from go_cache_safeguard.redis_py import Guard, GuardUnavailable, OperationHeld, OperationRefused
from go_cache_safeguard.redis_py.turnstile import Turnstile
from redisface import Gatekeeper
from rediskeys import FORMS

ADDRESS = Address(path="/run/s")
_FORMS = [tuple(word.encode() for word in form.split()) for form in FORMS.replace("\n", "|").split("|") if form]
_MORE = [
    "SET k v EX 60",
    "SET k* v",
    "SETEX a:* 60 v",
    "SET keep:1 v",
    "EXPIRE keep:1 60",
    "GET keep:1",
    "PING",
    "INCR n",
    "MULTI",
    "EXEC",
]
_CALLS = st.sampled_from([*_FORMS, *(tuple(word.encode() for word in form.split()) for form in _MORE)])


@pytest.fixture(scope="module", params=["", "keep:*"])
def guard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return redisface.guard(tmp_path_factory.mktemp("state"), Gatekeeper(), {"redis.protect": request.param})


def _wire(calls: Sequence[tuple[bytes, ...]]) -> bytes:
    return b"".join(map(encode, calls))


@given(calls=st.lists(_CALLS, min_size=1, max_size=5), whole=st.booleans())
def test_what_needs_no_judging_would_pass_if_it_were_judged(
    guard: Guard, calls: list[tuple[bytes, ...]], *, whole: bool
) -> None:
    sent = [(b"MULTI",), *calls, (b"EXEC",)] if whole else calls
    risky = guard.glance(_wire(sent))
    if risky is not None:
        passage = Turnstile(guard).weigh(_wire(sent))
        assert passage.ask is None
        assert risky or not passage.risky
        assert passage.after == Connection()


@given(calls=st.lists(_CALLS, min_size=1, max_size=3), at=st.integers(0), byte=st.integers(0, 255))
def test_no_byte_can_be_changed_so_that_something_goes_by(
    guard: Guard, calls: list[tuple[bytes, ...]], at: int, byte: int
) -> None:
    data = bytearray(_wire(calls))
    data[at % len(data)] = byte
    if guard.glance(bytes(data)) is not None:
        assert Turnstile(guard).weigh(bytes(data)).ask is None


def test_everyday_calls_are_not_judged(guard: Guard) -> None:
    for form in (
        "GET a",
        "SET a b",
        "SET a b EX 60",
        "LPUSH l a",
        "HSET h f v",
        "MULTI|SET a b|INCR n|EXEC",
        "EXPIRE a 60",
    ):
        calls = [tuple(word.encode() for word in line.split()) for line in form.split("|")]
        assert guard.glance(_wire(calls)) is not None, form


@pytest.mark.parametrize("key", ["k", "user:1", b"user:1", "ä"])
def test_text_and_bytes_of_a_key_are_judged_alike(guard: Guard, key: str | bytes) -> None:
    assert guard.is_fine(key)
    assert not guard.is_fine("keep:1") or not guard._rules.protect
    assert guard.is_fine("keep:1") == guard.is_fine(b"keep:1")


def test_each_answer_of_the_gate_has_its_error(tmp_path: Path) -> None:
    gate = Gatekeeper()
    guard = redisface.guard(tmp_path, gate)
    call = Call(((b"DEL", b"k"),))
    intent = guard.judge(call.commands[0], Connection())
    assert guard.decide(ADDRESS, call, intent) == gate.answer
    gate.answer = Answered(b":1\r\n")
    assert guard.decide(ADDRESS, call, intent) == gate.answer
    gate.answer = Held("op_1", "why")
    with pytest.raises(OperationHeld, match="op_1 why"):
        guard.decide(ADDRESS, call, intent)
    gate.answer = Refused("never")
    with pytest.raises(OperationRefused, match="never"):
        guard.decide(ADDRESS, call, intent)


def test_a_gate_is_opened_once_for_each_server_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Address] = []

    def open_gate(_session: object, address: Address) -> Gatekeeper:
        opened.append(address)
        return Gatekeeper()

    guard = Guard(redisface.session(tmp_path), open_gate)
    call = Call(((b"DEL", b"k"),))
    intent = guard.judge(call.commands[0], Connection())
    for address in (ADDRESS, ADDRESS, Address(host="h", port=1)):
        guard.decide(address, call, intent)
    assert len(opened) == 2
    monkeypatch.setattr(os, "getpid", lambda: -1)
    guard.decide(ADDRESS, call, intent)
    assert len(opened) == 3
    guard.close()


def test_a_gate_that_fails_lets_nothing_through(tmp_path: Path) -> None:
    def open_gate(*_args: object) -> Gatekeeper:
        raise RuntimeError

    guard = Guard(redisface.session(tmp_path), open_gate)
    call = Call(((b"DEL", b"k"),))
    with pytest.raises(GuardUnavailable, match="RuntimeError"):
        guard.decide(ADDRESS, call, guard.judge(call.commands[0], Connection()))


def test_settings_that_cannot_be_used_are_told_when_the_guard_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigBad):
        Guard.load({"state.dir": str(tmp_path), "redis.protect": "re:("})
    with pytest.raises(Failure):
        Guard.load({"state.dir": str(tmp_path)}).status("op_none")
