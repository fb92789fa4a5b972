"""The block of a README, whatever the README is like; and what a board says."""

import json
from dataclasses import replace
from math import nan

import pytest

from go_cache_safeguard.signals.board import (
    MOST_BYTES,
    Damaged,
    Panel,
    Place,
    State,
    block,
    inserted,
    panel_of,
    parse_places,
    services_in,
    signals_of,
    slack_message,
    state_in,
    subject,
)
from go_cache_safeguard.signals.gate import Limits
from go_cache_safeguard.signals.golden import Golden, absent
from slackservers import problems

_S = 1_000_000_000
_TRACES = "https://traces.example/trace/{trace}?a&b"
_CALM = Golden("pay", 0, 60 * _S, 6000, 6, 25.0, (), 0.4, newest_ns=59 * _S)
_BAD = replace(_CALM, errors=60, failing=("ab" * 16, "cd" * 16))


def _panel(golden: Golden = _BAD) -> Panel:
    return panel_of(golden, 0.005, Limits(), _TRACES)


def test_red_is_above_the_threshold_and_unknown_is_without_fresh_data() -> None:
    assert _panel(_CALM).state is State.GREEN
    assert _panel(replace(_CALM, errors=30)).state is State.GREEN
    assert _panel(replace(_CALM, errors=31, p95_ms=nan, saturation=nan)).state is State.RED
    for unknown in (absent("pay", 0, _S, "away"), replace(_BAD, newest_ns=9 * _S), replace(_BAD, requests=0, errors=0)):
        panel = _panel(unknown)
        assert panel.state is State.UNKNOWN
        assert panel.why


def test_the_block_shows_four_signals_the_threshold_and_links() -> None:
    text = block(_panel())
    assert "**🔴 pay is red**" in text
    assert "| 1 % | 25 ms | 100/s | 40 % |" in text
    assert f"[`{'ab' * 8}`](https://traces.example/trace/{'ab' * 16}?a&b)" in text
    assert "1970-01-01 00:01:00 UTC; over 60 s; red above 0.5 %" in text
    assert [value for _, value in signals_of(absent("pay", 0, _S, ""))] == ["?"] * 4
    assert subject(_panel()) == "Board: pay is red (error rate 1 %)"
    assert f"Failing traces: `{'ab' * 16}`" in block(replace(_panel(), traces=""))


@pytest.mark.parametrize(
    "readme",
    [
        b"",
        b"# Pay",
        b"# Pay\n",
        b"# Pay\r\n\r\ntext\r\n",
        b"\xef\xbb\xbf# Pay\n",
        b"\xff\xfe not UTF-8 \xe9",
        b"\n\n",
        b"x" * MOST_BYTES,
    ],
    ids=["empty", "no line end", "plain", "CRLF", "BOM", "bytes", "empty lines", "large"],
)
def test_a_block_is_put_on_top_and_later_replaced_and_nothing_else_changes(readme: bytes) -> None:
    first = inserted(readme, _panel())
    assert isinstance(first, bytes)
    assert state_in(first) is State.RED
    begin, end = first.index(b"<!-- signals:begin"), first.index(b"<!-- signals:end -->") + 20
    assert begin == (3 if readme.startswith(b"\xef\xbb\xbf") else 0)
    assert (
        first[:begin]
        + first[end:].removeprefix(b"\r\n\r\n" if b"\r\n" in readme else b"\n\n").rstrip(b"\n" if not readme else b"")
        == readme
    )
    assert (b"\r\n" in first[begin:end]) is (b"\r\n" in readme)
    if len(first) <= MOST_BYTES:
        second = inserted(first, _panel(_CALM))
        assert isinstance(second, bytes)
        assert state_in(second) is State.GREEN
        assert second.replace(block(_panel(_CALM)).encode(), b"", 1).count(b"signals:") == (
            0 if b"\r\n" not in readme else 2
        )
        again = inserted(second, _panel())
        assert again == first


@pytest.mark.parametrize(
    ("readme", "why"),
    [
        (b"<!-- signals:begin red -->\ntext", "damaged"),
        (b"text <!-- signals:end -->", "damaged"),
        (b"<!-- signals:end -->\n<!-- signals:begin -->", "the end comes first"),
        (b"<!-- signals:begin --><!-- signals:begin --><!-- signals:end -->", "damaged"),
        (b"x" * (MOST_BYTES + 1), "longer than 1 MiB"),
        ("# Pay".encode("utf-16"), "no text"),
    ],
)
def test_a_readme_that_we_cannot_be_sure_of_is_left_alone(readme: bytes, why: str) -> None:
    made = inserted(readme, _panel())
    assert isinstance(made, Damaged)
    assert why in made.why


def test_a_state_that_nobody_knows_is_none() -> None:
    assert state_in(b"# Pay") is state_in(b"<!-- signals:begin purple --><!-- signals:end -->") is None


def test_the_table_of_services_is_read_or_refused() -> None:
    words = "pay=https://git.example/pay.git cart=git@git.example:a/cart.git,branch=release/1,red=2% x=/srv/git/x.git"
    assert parse_places(words, 0.005) == (
        Place("pay", "https://git.example/pay.git", "main", 0.005),
        Place("cart", "git@git.example:a/cart.git", "release/1", 0.02),
        Place("x", "/srv/git/x.git", "main", 0.005),
    )
    for bad in (
        "pay", "pay=", "=x", "pay=--upload-pack=x", "pay=ext::sh", "pay=https://u:secret@h/x", "pay=https://token@h/x",
        "pay=/x,branch=-f", "pay=/x,branch=a..b", "pay=/x,red=5", "pay=/x,colour=1", "a=/x a=/y", "pay=http://h/x",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            parse_places(bad, 0.005)


def test_slack_takes_the_message_with_the_same_links() -> None:
    for panel in (_panel(), _panel(absent("<!here>", 0, _S, "<!channel>")), replace(_panel(), traces="")):
        message = json.loads(slack_message(panel))
        assert problems(message) == []
        assert "<!" not in message["text"] + message["blocks"][1]["text"]["text"]
    text = json.loads(slack_message(_panel()))["blocks"][1]["text"]["text"]
    assert f"<https://traces.example/trace/{'ab' * 16}?a&amp;b|{'ab' * 16}>" in text


def test_a_hint_names_services_or_is_about_all() -> None:
    known = ("pay", "cart")
    assert services_in({"alerts": [{"labels": {"job": "pay"}}, {"labels": 7}, 3]}, known) == {"pay"}
    assert services_in({"alerts": [{"labels": {"job": "other"}}]}, known) == set(known)
    for bad in ("[]", "{}", '{"alerts": {}}', "null"):
        with pytest.raises(ValueError, match="no webhook"):
            services_in(json.loads(bad), known)
