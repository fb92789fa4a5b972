"""Requests as `go` writes them, as nobody writes them, and cut anywhere; replies that any reader of JSON understands."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.progproto import (
    LINE_LIMIT,
    Close,
    End,
    Event,
    Get,
    Piece,
    Put,
    Reader,
    Unclear,
    closed,
    escaped,
    hello,
    hit,
    miss,
    parse_request,
    stored,
)

ACTION, OUTPUT = bytes(range(32)), bytes(range(100, 132))


def text(data: bytes) -> str:
    return b64encode(data).decode()


def request(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def put_of(body: bytes, number: int = 7) -> bytes:
    """A put as `go` writes it."""
    sized = {"BodySize": len(body)} if body else {}
    line = request(ID=number, Command="put", ActionID=text(ACTION), OutputID=text(sha256(body).digest()), **sized)
    return line + b"\n\n" + (b'"' + b64encode(body) + b'"\n' if body else b"")


def said(events: list[Event]) -> list[object]:
    """Events without the cuts between the pieces of a body."""
    found: list[object] = []
    for event in events:
        match event:
            case Piece(data=data):
                if found and isinstance(found[-1], bytes):
                    found[-1] += data
                else:
                    found.append(data)
            case Get():
                found.append(("get", event.id, event.action))
            case Put():
                found.append(("put", event.id, event.action, event.output, event.size))
            case End():
                found.append(("end", event.whole))
            case Close():
                found.append(("close", event.id))
            case Unclear():
                found.append(("unclear", event.id))
    return found


def test_a_get_a_put_with_its_body_and_a_close_are_understood() -> None:
    body = b"what a compiler made" * 1000
    stream = (
        request(ID=1, Command="get", ActionID=text(ACTION)) + b"\n\n" + put_of(body) + b'{"ID":9,"Command":"close"}\n\n'
    )
    assert said(Reader().feed(stream)) == [
        ("get", 1, ACTION),
        ("put", 7, ACTION, sha256(body).digest(), len(body)),
        body,
        ("end", True),
        ("close", 9),
    ]


def test_an_empty_body_is_over_at_once() -> None:
    assert said(Reader().feed(put_of(b""))) == [("put", 7, ACTION, sha256(b"").digest(), 0), ("end", True)]


@pytest.mark.parametrize("name", ["OutputID", "ObjectID"])
def test_the_output_may_have_its_older_name_and_fields_any_order(name: str) -> None:
    line = json.dumps({"BodySize": 3, name: text(OUTPUT), "ActionID": text(ACTION), "Command": "put", "ID": 2}).encode()
    assert said([parse_request(line)]) == [("put", 2, ACTION, OUTPUT, 3)]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300).map(put_of), st.just(request(ID=1, Command="get", ActionID=text(ACTION)) + b"\n")
        )
    ),
    st.data(),
)
def test_wherever_the_bytes_are_cut_the_requests_are_the_same(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(requests)
    whole, bytewise, cut = Reader(), Reader(), Reader()
    expected = said(whole.feed(stream))
    assert said([event for at in range(len(stream)) for event in bytewise.feed(stream[at : at + 1])]) == expected
    events: list[Event] = []
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        events += cut.feed(stream[:length])
        stream = stream[length:]
    assert said(events) == expected


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_whatever_comes_nothing_is_raised_and_little_is_held(chunks: list[bytes]) -> None:
    reader = Reader()
    for chunk in chunks:
        reader.feed(chunk)
    assert len(reader._rest) <= sum(map(len, chunks))


def test_a_line_without_end_is_not_held() -> None:
    reader = Reader()
    events = [event for _ in range(20) for event in reader.feed(b"x" * 30_000)]
    assert said(events) == [("unclear", None)]
    assert len(reader._rest) <= LINE_LIMIT
    assert said(reader.feed(b"\n" + request(ID=1, Command="close") + b"\n")) == [("close", 1)]


@pytest.mark.parametrize(
    "body",
    [b'"!!!!"\n', b'"YWJj', b"YWJj\n", b'"YWJjYWJj"\n', b'"YW=j"\n', b'"YWJ"\n', b'{"ID":4}\n'],
    ids=["no base64", "no end", "no quotes", "too long", "padded inside", "too short", "no body"],
)
def test_a_body_that_is_none_is_said_to_be_broken_and_the_next_request_is_understood(body: bytes) -> None:
    reader = Reader()
    put = request(ID=3, Command="put", ActionID=text(ACTION), OutputID=text(OUTPUT), BodySize=3) + b"\n"
    events = said(reader.feed(put + body + b"\n" + request(ID=5, Command="get", ActionID=text(ACTION)) + b"\n"))
    assert events[0] == ("put", 3, ACTION, OUTPUT, 3)
    assert ("end", False) in events
    assert events[-1] == ("get", 5, ACTION)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"nonsense", None),
        (b"[1]", None),
        (b'{"ID":"1","Command":"get"}', None),
        (b'{"ID":-1,"Command":"close"}', None),
        (b'{"ID":99999999999999999999,"Command":"close"}', None),
        (b'{"ID":true,"Command":"close"}', None),
        (b'{"ID":1,"Command":"get","ActionID":"short"}', 1),
        (b'{"ID":1,"Command":"get","ActionID":"' + b"!" * 44 + b'"}', 1),
        (b'{"ID":1,"Command":"get2"}', 1),
        (request(ID=1, Command="put", ActionID=text(ACTION), OutputID=text(OUTPUT), BodySize=-1), 1),
        (request(ID=1, Command="put", ActionID=text(ACTION)), 1),
        (b"[" * 60_000, None),
    ],
)
def test_what_is_no_request_is_unclear(line: bytes, number: int | None) -> None:
    assert said([parse_request(line)]) == [("unclear", number)]


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_a_hit_is_json_that_go_understands(size: int, time_ns: int) -> None:
    value = json.loads(hit(5, OUTPUT, size, time_ns, escaped('/a "b"\\c\n/é')))
    assert value | {"Time": ""} == {
        "ID": 5,
        "OutputID": text(OUTPUT),
        "Size": size,
        "Time": "",
        "DiskPath": '/a "b"\\c\n/é',
    }
    whole = datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert value["Time"] == f"{whole}.{time_ns % 10**9:09d}Z"


def test_other_replies_are_json_too() -> None:
    lines = hello(put=True) + hello(put=False) + miss(1) + stored(2, b"/x") + closed(3)
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"ID": 0, "KnownCommands": ["get", "put", "close"]},
        {"ID": 0, "KnownCommands": ["get", "close"]},
        {"ID": 1, "Miss": True},
        {"ID": 2, "DiskPath": "/x"},
        {"ID": 3},
    ]


def test_a_path_that_is_no_utf8_cannot_be_said() -> None:
    with pytest.raises(UnicodeEncodeError):
        escaped("/a/\udcff")
