"""Which shell lines throw away a cache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gotool.shellline import Places, find_danger

PLACES = Places("/home/ann/.cache/go-build", "/home/ann/go/pkg/mod", "/home/ann", "/home/ann/src")

DANGEROUS = (
    "go clean -cache",
    "go clean -modcache -x",
    "/usr/local/go/bin/go clean --cache",
    "go1.27.3 clean -fuzzcache",
    "cd x && go clean -cache; make",
    "make || (go clean -testcache)",
    "sudo -u ann go clean -cache",
    "env GOCACHE=/x go clean -cache",
    "FOO=1 go -C dir clean -cache",
    "bash -c 'go clean -cache'",
    'sh -ec "cd x; go clean -modcache"',
    "eval go clean -cache",
    "if true; then go clean -cache; fi",
    "rm -rf ~/.cache/go-build",
    "rm -rf $HOME/.cache/go-build/*",
    'rm -rf "$(go env GOCACHE)"',
    "rm -rf `go env GOMODCACHE`",
    "rm -r ${GOCACHE}",
    "sudo rm -Rf /home/ann/go/pkg/mod/cache",
    "rm -rf /home/ann/.cache",
    "rm -rf ../.cache/go-build",
    "rm --recursive --force /home/ann/go/pkg",
    "find ~/.cache/go-build -mtime +5 -delete",
    "find $GOCACHE -name '*-d' -exec rm {} +",
    "mv ~/.cache/go-build /tmp/old",
    "echo a\ngo clean -cache",
    "timeout 10 go clean -cache",
    "redis-cli -h prod FLUSHALL",
    "redis-cli flushdb async",
    "go clean -cache 'unfinished",
    "true & go clean -cache",
    "{ go clean -cache; }",
)
HARMLESS = (
    "go build ./...",
    "go clean",
    "go clean -n -cache",
    "go clean ./cache",
    "echo 'go clean -cache'",
    "git commit -m 'never go clean -cache'",
    "grep -r 'go clean -cache' .",
    "rm -rf ./build",
    "rm /home/ann/.cache/go-build/README",
    "rm -rf /home/ann/src/cache",
    "rm -rf /home/ann/.cachet",
    "find . -name go-build",
    "ls ~/.cache/go-build",
    "go-cache-safeguard clean --all",
    "redis-cli get flushall",
    "",
)


@pytest.mark.parametrize("line", DANGEROUS)
def test_what_throws_a_cache_away_is_found(line: str) -> None:
    assert find_danger(line, PLACES) is not None


@pytest.mark.parametrize("line", HARMLESS)
def test_what_does_not_is_left_alone(line: str) -> None:
    assert find_danger(line, PLACES) is None


def test_the_answer_names_what_to_do_instead() -> None:
    found = find_danger("go clean -modcache", PLACES)
    assert found is not None
    assert found.what == "go clean -modcache"
    assert "mod gc --all" in found.instead


@given(st.text(alphabet="go clean-ache'\"$(){};&|\\\n~/rmf `", max_size=60))
def test_any_text_gets_an_answer(line: str) -> None:
    find_danger(line, PLACES)
