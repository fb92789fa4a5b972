"""An approval is bound to a call; held and refused calls are told in one line."""

from dataclasses import replace

import pytest

from go_cache_safeguard.redis.call import Answered, Call, Held, Refused, error_line, reply_to

CALL = Call(((b"DEL", b"k"),), db=0, user="app", client="127.0.0.1:1", resp=2)


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, commands=((b"DEL", b"l"),)),
        replace(CALL, commands=((b"DEL", b"k"), (b"DEL", b"k"))),
        replace(CALL, commands=((b"DELk",),)),
        replace(CALL, commands=((b"DEL", b"k", b""),)),
        replace(CALL, transaction=True),
        replace(CALL, db=1),
        replace(CALL, db=None),
        replace(CALL, user="other"),
    ],
)
def test_an_approval_is_bound_to_what_where_and_as_whom(other: Call) -> None:
    assert other.digest != CALL.digest


def test_an_approval_is_not_bound_to_a_socket() -> None:
    assert replace(CALL, client="10.0.0.1:9", resp=3, op="op_1").digest == CALL.digest


def test_what_a_client_reads_instead_of_a_reply() -> None:
    assert reply_to(Held("op_1", "why")) == b"-GUARDHELD op_1 why\r\n"
    assert reply_to(Refused("never")) == b"-GUARDREFUSED never\r\n"
    assert reply_to(Answered(b":1\r\n")) == b":1\r\n"


def test_an_error_is_one_line_whatever_is_told() -> None:
    assert error_line("a\r\nb\0c\x7fd\xe9") == b"-a??b?c?d?\r\n"
    assert len(error_line("x" * 9_999)) == 503
