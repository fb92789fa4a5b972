"""What is wrong with how a CI file keeps Go's caches."""

import pytest

from go_cache_safeguard.gocache.cilint import RULES, lint
from go_cache_safeguard.gocache.ciworkflow import Workflow, read_workflow


def _rules(data: str, *, gitlab: bool = False) -> set[str]:
    found = read_workflow(data.encode(), gitlab=gitlab)
    assert isinstance(found, Workflow)
    return {finding.rule for finding in lint(found, lambda line: "go clean" if "clean -cache" in line else "")}


def _github(*steps: str, on: str = "push", more: str = "") -> str:
    return f"on: [{on}]\njobs:\n  a:\n    {more or 'timeout-minutes: 5'}\n    steps:\n" + "".join(
        f"      - {step}\n" for step in steps
    )


def _cache(key: str, *, path: str = "~/.cache/go-build", restore: str = "", kind: str = "actions/cache@v4") -> str:
    keys = f", restore-keys: '{restore}'" if restore else ""
    return f"{{uses: {kind}, with: {{path: '{path}', key: '{key}'{keys}}}}}"


GOOD = _cache("b-go1.27-${{ github.run_id }}", restore="b-go1.27-")


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("frozen-key", _github(_cache("go-1.27"))),
        ("key-follows-go-sum", _github(_cache("go-1.27-${{ hashFiles(go.sum) }}", restore="go-"))),
        ("key-follows-go-sum", _github("uses: actions/setup-go@v5")),
        ("no-go-in-key", _github(_cache("${{ github.sha }}", restore="x"))),
        ("no-restore-keys", _github(_cache("go-1.27-${{ github.sha }}"))),
        (
            "modules-many-times",
            _github(
                _cache("${{ matrix.os }}-${{ hashFiles(go.sum) }}", path="~/go/pkg/mod"),
                more="strategy: {matrix: {os: [a, b]}}",
            ),
        ),
        ("restored-twice", _github("uses: actions/setup-go@v5", GOOD)),
        ("one-key-for-both", _github(_cache("x", path="~/go/pkg/mod\\n~/.cache/go-build".replace("\\n", " ")))),
        ("grows-only", _github(GOOD)),
        ("test-times", _github(GOOD, "run: go test ./...")),
        ("saved-by-pull-requests", _github(GOOD, on="pull_request")),
        ("cleans-past-guard", _github("run: go clean -cache")),
    ],
)
def test_each_rule_finds_what_it_is_for(rule: str, bad: str) -> None:
    if rule == "one-key-for-both":
        bad = bad.replace("~/go/pkg/mod ~/.cache/go-build", "~/go/pkg/mod").replace(
            "'~/go/pkg/mod'", '"~/go/pkg/mod\\n~/.cache/go-build"'
        )
    assert rule in _rules(bad)


def test_what_the_rules_ask_for_is_accepted() -> None:
    good = _github(
        "uses: {uses: x}",
        _cache("m-${{ hashFiles(go.sum) }}", path="~/go/pkg/mod", restore="m-"),
        _cache("b-go1.27-${{ github.run_id }}", restore="b-go1.27-"),
        "run: go-cache-safeguard ci unpack x",
        "run: go test ./...",
        "run: go-cache-safeguard ci pack -o x",
    )
    assert _rules(good) == set()


def test_gitlab_keeps_nothing_outside_of_the_project() -> None:
    bad = "a:\n  script: [go build]\n  cache: {key: go1.27, paths: [/root/.cache/go-build, ~/go/pkg/mod]}\n"
    assert {"outside-project", "grows-only"} <= _rules(bad, gitlab=True)
    good = "a:\n  script: [go build, go-cache-safeguard ci pack]\n  cache: {key: go1.27, paths: [.cache/go-build]}\n"
    assert _rules(good, gitlab=True) == set()


def test_every_rule_says_what_to_do_and_where_it_was_seen() -> None:
    assert all(rule.meaning and rule.instead and rule.seen for rule in RULES.values())
