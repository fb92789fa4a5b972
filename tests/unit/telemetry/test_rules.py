"""What the rule file means, and how it is refused."""

from pathlib import Path

import pytest

from go_cache_safeguard.telemetry.rules import (
    Adaptive,
    Always,
    Buffer,
    Condition,
    Equals,
    Exists,
    Glob,
    Never,
    Redaction,
    RulesBad,
    Status,
    Tenant,
    When,
    default_rules,
    parse_rules,
    read_rules,
)

EXAMPLE = Path(__file__).parents[3] / "docs" / "signals" / "rules.yaml"
REST = {"name": "rest", "keep": "always"}


def test_the_example_of_the_docs_says_what_its_comments_say() -> None:
    found = read_rules(EXAMPLE.read_bytes(), "rules.yaml")
    errors, slow, purges, probes, payments, rest = found.rules
    assert (errors.when, errors.keep) == (When(status=Status.ERROR), Always())
    assert slow.when == When(duration_ms=1_000)
    assert purges.when.name == Glob("guard.*")
    assert probes.keep == Never()
    assert probes.when.attributes[1] == Condition("http.request.method", Equals("GET"))
    assert payments.when.attributes == (Condition("payment.id", Exists()),)
    assert payments.keep == Adaptive(0.5, 1.0)
    assert rest.when.always
    assert rest.keep == Adaptive(0.05, 0.15)
    assert (found.budget, found.tenant, found.buffer) == (1_000, Tenant(), Buffer())
    assert found.redaction.hash == (Glob("user.id"), Glob("enduser.id"))


def test_what_is_not_told_has_a_default() -> None:
    found = parse_rules({"sampling": [REST]})
    assert (found.budget, found.redaction, found.tenant, found.buffer) == (1_000, Redaction(), Tenant(), Buffer())
    assert not default_rules().looks_inside


@pytest.mark.parametrize(
    ("text", "line", "place", "why"),
    [
        ("", "", "the document", "empty"),
        ("- a", ":1", "the document", "must have keys"),
        ("sampling: [", ":1", "the document", "not YAML"),
        ("sampling: \x01", "", "the document", "not YAML"),
        ("sampling: 2026-13-77", ":1", "sampling", "month must be"),
        ("budget: 5", ":1", "the document", "`sampling` is missing"),
        ("sampling: &a [{name: b, keep: always}]\nbudget: *a", ":2", "the document", "aliases"),
        ("sampling: []\nsampling: []", ":2", "sampling", "told twice"),
        ("x: " + "[" * 30 + "]" * 30, ":1", "x[0][0]", "nested too deeply"),
        ("sampling: 5", ":1", "sampling", "must be a list"),
        ("sampling: []", ":1", "sampling", "the last rule must have no `when`"),
        ("sampling:\n- {name: a, keep: always}\n- {name: b, keep: always}", ":3", "sampling[1]", "never applies"),
        ("sampling:\n- {name: a, keep: never, when: {status: ok}}\n- {name: a, keep: always}", ":3", "sampling[1]", "second"),
        ("sampling:\n- name: a\n  keep: sometimes", ":3", "sampling[0].keep", "must be `always`, `never`"),
        ("sampling:\n- name: a\n  keep: {}", ":3", "sampling[0].keep", "`adaptive` is missing"),
        ("sampling:\n- name: a\n  keep:\n    adaptive: {least: 1}", ":4", "sampling[0].keep.adaptive", "`least` and `most`"),
        ("sampling:\n- name: a\n  keep:\n    adaptive: {least: 9%, most: 5%}", ":4", "sampling[0].keep.adaptive", "more than"),
        ("sampling:\n- name: a\n  keep:\n    adaptive:\n      least: nan\n      most: 1", ":5", "sampling[0].keep.adaptive.least", "share"),
        ("sampling:\n- keep: always", ":2", "sampling[0]", "`name` is missing"),
        ("sampling:\n- {name: a b, keep: always}", ":2", "sampling[0].name", "is not a name"),
        ("sampling:\n- {name: a, keep: always, when: {}}", ":2", "sampling[0].when", "asks nothing"),
        ("sampling:\n- {name: a, keep: always, when: {statos: ok}}", ":2", "sampling[0].when.statos", "known are status"),
        ("sampling:\n- {name: a, keep: always, when: {status: bad}}", ":2", "sampling[0].when.status", "one of unset, ok"),
        ("sampling:\n- {name: a, keep: always, when: {duration_over: 5}}", ":2", "sampling[0].when.duration_over", "not text"),
        ("sampling:\n- {name: a, keep: always, when: {duration_over: 5y}}", ":2", "sampling[0].when.duration_over", "length"),
        ("sampling:\n- {name: a, keep: always, when: {attributes: [{key: b}]}}", ":2", "sampling[0].when.attributes[0]", "one of"),
        (
            "sampling:\n- {name: a, keep: always, when: {attributes: [{key: b, regex: '(a)\\1'}]}}",
            ":2",
            "sampling[0].when.attributes[0].regex",
            "not understood",
        ),
        (
            "sampling:\n- {name: a, keep: always, when: {attributes: [{key: b, exists: false}]}}",
            ":2",
            "sampling[0].when.attributes[0].exists",
            "only `true`",
        ),
        (
            "sampling:\n- {name: a, keep: always, when: {attributes: [{key: b, equals: [1]}]}}",
            ":2",
            "sampling[0].when.attributes[0].equals",
            "must be a text",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line_and_its_key(text: str, line: str, place: str, why: str) -> None:
    with pytest.raises(RulesBad) as caught:
        read_rules(text.encode(), "r.yaml")
    assert caught.value.what.startswith(f"r.yaml{line}: {place}: ")
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"budget": 0}, "budget"),
        ({"budget": True}, "budget"),
        ({"redaction": {"drop": "a"}}, "redaction.drop"),
        ({"redaction": {"drop": [5]}}, "redaction.drop[0]"),
        ({"redaction": {"defaults": 1}}, "redaction.defaults"),
        ({"redaction": {"key_variable": "A B"}}, "redaction.key_variable"),
        ({"redaction": {"patterns": [{"name": "a"}]}}, "redaction.patterns[0]"),
        ({"redaction": {"patterns": [{"name": "a", "regex": "a**"}]}}, "redaction.patterns[0].regex"),
        ({"redaction": {"patterns": [{"name": "a", "regex": "^a|b$"}]}}, "redaction.patterns[0].regex"),
        ({"redaction": {"patterns": [{"name": "a", "regex": "a)|(b"}]}}, "redaction.patterns[0].regex"),
        ({"tenant": {"header": "a: b"}}, "tenant.header"),
        ({"buffer": {"memory": "10%"}}, "buffer.memory"),
        ({"buffer": {"memory": "much"}}, "buffer.memory"),
        ({"buffer": {"decisions": 0}}, "buffer.decisions"),
    ],
)
def test_other_sections_are_checked_as_strictly(section: dict[str, object], place: str) -> None:
    with pytest.raises(RulesBad, match=rf"^rules: {place.replace('[', '.').replace(']', '.')}: "):
        parse_rules({"sampling": [REST], **section})


def test_a_file_larger_than_a_file_of_rules_is_refused() -> None:
    with pytest.raises(RulesBad, match="larger than"):
        read_rules(b"#" * 300_000, "r.yaml")


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("a", ["a"], ["", "aa"]),
        ("*", ["", "a"], []),
        ("a*b", ["ab", "axb"], ["a", "b", "abx"]),
        ("aba*ba", ["ababa", "aba-ba"], ["aba"]),
        ("*a*a*", ["aa", "xaxax"], ["a", "xa"]),
        ("/x/[id]?", ["/x/[id]?"], ["/x/i"]),
    ],
)
def test_a_star_is_any_text_and_nothing_else_is_special(glob: str, yes: list[str], no: list[str]) -> None:
    assert [name for name in yes if not Glob(glob).matches(name)] == []
    assert [name for name in no if Glob(glob).matches(name)] == []


@pytest.mark.parametrize(
    ("regex", "yes", "no"),
    [
        ("CUST-[0-9]{2}", ["CUST-12", "a CUST-123 b"], ["CUST-1"]),
        ("a|b", ["xa", "bx"], ["x"]),
        (r"\$", ["a$b"], ["ab"]),
    ],
)
def test_a_pattern_of_values_is_looked_for_anywhere(regex: str, yes: list[str], no: list[str]) -> None:
    document = {"sampling": [REST], "redaction": {"patterns": [{"name": "x", "regex": regex}]}}
    (found,) = parse_rules(document).redaction.patterns
    assert found.regex == regex
    assert [text for text in yes if not found.pattern.matches(text.encode())] == []
    assert [text for text in no if found.pattern.matches(text.encode())] == []
