"""What callers are told."""

import pickle

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from go_cache_safeguard.redis.call import Held, Refused, reply_to
from go_cache_safeguard.redis_py import (
    GuardError,
    GuardUnavailable,
    OperationElsewhere,
    OperationHeld,
    OperationRefused,
    OutcomeUnknown,
    parse_error,
)
from go_cache_safeguard.redis_py.errors import ConnectionOutcomeUnknown


def _through_the_proxy(reply: bytes) -> ResponseError:
    return ResponseError(reply.decode()[1:-2])


def test_answers_of_the_proxy_are_told_apart_from_the_error_that_a_client_got() -> None:
    held = parse_error(_through_the_proxy(reply_to(Held("op_1", "why not"))))
    assert isinstance(held, OperationHeld)
    assert (held.op, held.text) == ("op_1", "why not")
    refused = parse_error(_through_the_proxy(reply_to(Refused("never here"))))
    assert isinstance(refused, OperationRefused)
    assert refused.text == "never here"


def test_a_pipeline_says_more_before_what_the_guard_said() -> None:
    error = ResponseError("Command # 2 (DEL a) of pipeline caused error: GUARDHELD op_2 wait")
    found = parse_error(error)
    assert isinstance(found, OperationHeld)
    assert found.op == "op_2"


def test_what_the_guard_did_is_not_mistaken_for_what_it_held() -> None:
    assert isinstance(parse_error(ResponseError("GUARDUNKNOWN op_3 lost")), OutcomeUnknown)
    done = parse_error(ResponseError("GUARDPARTLY op_3 1 of 2"))
    assert isinstance(done, OperationElsewhere)
    assert done.op == "op_3"


@pytest.mark.parametrize("text", ["ERR no", "WRONGTYPE GUARDHELD op_1 x", "GUARDHELD", "GUARDNOTHING op_1 x", ""])
def test_other_errors_are_none_of_the_guard(text: str) -> None:
    assert parse_error(ResponseError(text)) is None
    assert parse_error(ValueError("GUARDHELD op_1 x")) is None


def test_a_held_call_is_an_error_and_no_broken_connection() -> None:
    for error in (
        OperationHeld("op_1", "x"),
        OperationRefused("x"),
        GuardUnavailable("x"),
        OperationElsewhere("op", "x"),
    ):
        assert isinstance(error, GuardError)
        assert isinstance(error, ResponseError)
        assert not isinstance(error, RedisConnectionError | RedisTimeoutError)
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(again), str(again)) == (type(error), str(error))


def test_a_lost_reply_is_caught_by_those_who_connect_again_but_not_in_a_cluster() -> None:
    assert issubclass(ConnectionOutcomeUnknown, RedisConnectionError)
    assert issubclass(OutcomeUnknown, RedisError)
    assert not issubclass(OutcomeUnknown, RedisConnectionError)
