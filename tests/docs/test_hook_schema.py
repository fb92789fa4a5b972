"""The published schema of messages is that of real messages: all that they hold is described, and nothing else is valid."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flows.test_outbox import delivered, held, session_of
from go_cache_safeguard.approval.outbox import Event
from go_cache_safeguard.core.lifecycle import State
from hookservers import hooked

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "hook.schema.json").read_text())
STRICT = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One of each kind, as a hook got them."""
    folder = tmp_path_factory.mktemp("messages")
    with hooked() as hook:
        session = session_of(folder, hook, approval__tell="all", approval__page="https://safeguard.example")
        ops = held(session, 5)
        delivered(session)
        emergency = {"emergency": True, "reason": "the disk is full", "approver": "uid:2(b)"}
        ends: list[tuple[State, dict[str, Any]]] = [
            (State.APPROVED, {"approver": "uid:1(a)", "approvers": ["uid:1(a)", "user:b"]}),
            (State.APPROVED, emergency),
            (State.REJECTED, {"rejected_by": "user:b", "why": "no"}),
            (State.CANCELLED, {"cancelled_by": "uid:1(a)", "why": "x" * 5000}),
            (State.EXPIRED, {}),
        ]
        with session.journal() as journal:
            for op, (state, data) in zip(ops, ends, strict=True):
                journal.advance(op, state, data)
        delivered(session)
        return [json.loads(one.body) for one in hook.received]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_real_messages_of_every_kind_are_valid_and_hold_nothing_that_is_not_described(
    messages: list[dict[str, Any]],
) -> None:
    assert {one["type"] for one in messages} == {f"operation.{event}" for event in Event}
    assert SCHEMA["properties"]["type"]["enum"] == [f"operation.{event}" for event in Event]
    for one in messages:
        STRICT.validate(one)
        assert set(one) == set(SCHEMA["properties"])
        assert set(one["data"]) == set(SCHEMA["properties"]["data"]["properties"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("op", "op_1"), ("digest", "abc"), ("items", -1), ("bytes", "7"), ("page", "javascript:x"), ("state", "DONE")],
)
def test_what_no_message_says_is_not_valid(messages: list[dict[str, Any]], field: str, value: object) -> None:
    wrong = deepcopy(messages[0])
    wrong["data"][field] = value
    with pytest.raises(jsonschema.ValidationError):
        STRICT.validate(wrong)
