"""Text of other people as HTML: nothing runs, nothing hides, nothing turns the order of letters round."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from go_cache_safeguard.web.view import _ENVIRONMENT, moment, plain, seconds_of, shown


@given(st.text())
def test_whatever_is_shown_can_be_seen_and_is_no_markup(text: str) -> None:
    html = (
        str(shown(text))
        .removeprefix("<bdi>")
        .removesuffix("</bdi>")
        .replace('<span class="odd">', "")
        .replace("</span>", "")
    )
    assert html.isprintable()
    assert not set(html) & set("<>\"'")
    assert plain(text).isprintable()


@pytest.mark.parametrize(
    "char", ["\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\x00", "\x1b", "\n", "\u2028", "\ud800", "\u00ad"]
)
def test_characters_that_cannot_be_seen_become_escapes(char: str) -> None:
    assert unicodedata.category(char) in {"Cf", "Cc", "Zl", "Cs"}
    assert plain(f"a{char}b").startswith("a\\")
    assert '<span class="odd">\\' in shown(f"a{char}b")


def test_an_escape_of_ours_looks_other_than_one_that_somebody_wrote() -> None:
    assert "odd" in shown("\u202e")
    assert "odd" not in shown(r"\u202e")


def test_text_without_an_end_is_cut_and_says_so() -> None:
    assert "(5,000 characters)" in shown("x" * 5000)
    assert len(shown("x" * 5000)) < 2100


def test_a_template_that_forgets_to_say_how_text_is_shown_is_safe_all_the_same() -> None:
    template = _ENVIRONMENT.from_string('<a title="{{ text }}">{{ text }}</a>{{ html }}{{ number }}')
    made = template.render(text='"><script>\u202e', html=Markup("<b>\u202e</b>"), number=7)
    assert made == '<a title="&#34;&gt;&lt;script&gt;\\u202e">&#34;&gt;&lt;script&gt;\\u202e</a><b>\u202e</b>7'


def test_times_that_are_none_are_unknown() -> None:
    assert moment("2026-01-02T03:04:05.000006Z") == "2026-01-02 03:04 UTC"
    assert moment(0) == "1970-01-01 00:00 UTC"
    assert [moment(one) for one in ("", None, "yesterday", 10**18)] == ["UNKNOWN"] * 4
    assert (seconds_of("1970-01-01T00:00:09Z"), seconds_of("x")) == (9, None)
