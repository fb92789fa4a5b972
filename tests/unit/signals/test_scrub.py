"""Redaction in the Collector's own language: the patterns find what `telemetry.redact` finds."""

import re
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.signals.scrub import TEXTS, names, processors
from go_cache_safeguard.telemetry.redact import Redactor
from go_cache_safeguard.telemetry.rules import Redaction, parse_rules

_SITE = parse_rules(
    {
        "sampling": [{"name": "all", "keep": "always"}],
        "redaction": {
            "drop": ["internal.*"],
            "hash": ["customer.id", "who.*"],
            "mask": ["db.query.parameter.*"],
            "patterns": [{"name": "customer", "regex": "CUST-[0-9]{8}"}],
        },
    }
).redaction


def by_collector(text: str) -> str:
    """What the statements make of a text; Python reads these patterns as Go does."""
    for regex, instead in TEXTS:
        text = re.sub(regex, re.sub(r"\$(\d)", r"\\g<\1>", instead), text)
    return text


@pytest.mark.parametrize("regex", [regex for regex, _ in TEXTS])
def test_no_pattern_looks_back_or_ahead_which_go_cannot(regex: str) -> None:
    assert re.search(r"\(\?[<!=]", regex) is None
    re.compile(regex)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Basic abc, more",
        "https://svc:pw@example.com/cb?code=abc&x=1&access_token=xyz#top",
        "code=1 mycode=2;code=3&auth=4?key=5",
        '{"password": "a b", "token":"c", "user": "x"}',
        "tokenizer=5 passwordless=1 secret:x",
        "mail alice@example.co.uk now",
        "card 4111 1111 1111 1111. and 4111111111111111, v1.4111111111111111",
        "eyJhbGciOi.eyJzdWIi.sig and AKIAABCDEFGHIJKLMNOP",
        "-----BEGIN RSA PRIVATE KEY-----\nMII\n",
        "with bearer abcdefghij, basic",
        "GET /pay/{id} 200 in 1234 ms",
    ],
)
def test_a_text_is_redacted_as_in_process(text: str) -> None:
    assert by_collector(text) == Redactor(Redaction()).text(text)


@given(
    st.lists(
        st.sampled_from(["token", "=", "a", "&", "?key=", "x-amz-", " ", ":", '"', "@b.cd", "://", "/", ";"]),
        max_size=9,
    )
)
def test_whatever_is_put_together_nothing_more_is_left(parts: list[str]) -> None:
    text = "".join(parts)
    assert by_collector(text) == Redactor(Redaction()).text(text)


def test_a_number_of_the_shape_of_a_card_is_taken_for_one() -> None:
    text = "order 4111111111111112."
    assert (by_collector(text), Redactor(Redaction()).text(text)) == ("order [card].", text)


def test_every_place_that_leaves_has_its_statements() -> None:
    made = processors(_SITE)
    assert [*made] == ["transform/redaction", "redaction"]
    contexts = [one["context"] for one in made["transform/redaction"]["trace_statements"]]
    assert contexts == ["resource", "scope", "span", "spanevent"]
    span = made["transform/redaction"]["trace_statements"][2]["statements"]
    assert span[0] == 'delete_matching_keys(attributes, "(?is)^(?:internal\\\\..*)$")'
    assert span.index(next(one for one in span if "authorization" in one)) > span.index(
        'delete_key(attributes, "customer.id")'
    )
    assert 'replace_pattern(status.message, "(?s)^.*(?:CUST-[0-9]{8}).*$", "[customer]")' in span
    assert span.count('merge_maps(attributes, cache["kept"], "upsert")') == 1
    assert made["redaction"]["blocked_key_patterns"] == ["(?is)^(?:db\\.query\\.parameter\\..*|who\\..*)$"]
    assert "customer.id" in made["redaction"]["ignored_keys"]


def test_in_json_everything_goes_from_a_secret_name_on() -> None:
    blocked = processors(_SITE)["redaction"]["blocked_values"]
    for text in (
        '{"http.request.header.set_cookie":["sid=1","b"]}',
        '{"a":{"internal.x":5,"b":1}}',
        '["{\\"password\\": \\"canary\\"}"]',
        '["--password=canary","x"]',
    ):
        left = reduce(lambda so_far, regex: re.sub(regex, "****", so_far), blocked, text)
        assert re.search("sid|5|canary", left) is None, left


def test_without_defaults_only_what_the_site_says_is_done() -> None:
    made = processors(Redaction(defaults=False))
    assert made["redaction"]["blocked_values"] == []
    assert made["transform/redaction"]["trace_statements"][0]["statements"] == [
        'set(cache["kept"], attributes)',
        'keep_matching_keys(cache["kept"], "\\\\z.")',
        'merge_maps(attributes, cache["kept"], "upsert")',
    ]
    assert all(
        not one["statements"] or "name" in str(one) for one in names(Redaction())["transform/names"]["trace_statements"]
    )
