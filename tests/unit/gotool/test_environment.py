"""`gotool.environment`: the default place of a cache, the GOENV file, and what may be written down."""

import json

import pytest

from go_cache_safeguard.gotool.environment import (
    KEYS,
    cache_location,
    env_file,
    evidence,
    parse_env_file,
    parse_environ,
    parse_go_env,
    without_passwords,
)


def test_the_answer_of_go_env_is_read_field_by_field() -> None:
    answer = {key: key.lower() for key in KEYS}
    found = parse_go_env(json.dumps(answer).encode())
    assert found is not None
    assert (found.version, found.cache, found.cacheprog) == ("goversion", "gocache", "gocacheprog")


def test_a_version_that_does_not_know_a_key_is_fine() -> None:
    found = parse_go_env(b'{"GOVERSION": "go1.21.13", "GOCACHE": "/c"}')
    assert found is not None
    assert found.cacheprog == ""


def test_passwords_in_goproxy_are_covered() -> None:
    found = parse_go_env(
        b'{"GOVERSION": "go1.27.3", "GOPROXY": "https://me:secret@a.example,https://b.example|direct"}'
    )
    assert found is not None
    assert found.proxy == "https://***@a.example,https://b.example|direct"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b'{"GOVERSION": 1}', b"[" * 100_000])
def test_what_is_not_an_answer_of_go_env_is_none(data: bytes) -> None:
    assert parse_go_env(data) is None


def test_only_variables_of_go_are_evidence() -> None:
    environ = {
        "GOFLAGS": "-race",
        "CGO_ENABLED": "0",
        "CC": "gcc",
        "PATH": "/bin",
        "HOME": "/home/a",
        "GOPROXY": "https://u:p@x",
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "GO_TOKEN": "t",
        "AWS_SECRET_ACCESS_KEY": "s",
        "MYGOFLAGS": "x",
    }
    assert evidence(environ) == {
        "CC": "gcc",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-race",
        "GOPROXY": "https://***@x",
        "HOME": "/home/a",
        "PATH": "/bin",
    }


def test_an_address_without_a_password_stays_as_it_is() -> None:
    assert without_passwords("https://a.example/x@v1,direct") == "https://a.example/x@v1,direct"


def test_of_a_variable_that_comes_twice_the_last_one_holds() -> None:
    assert parse_environ(b"A=1\0B=x=y\0junk\0=z\0A=2\0\xff=\xfe\0") == {"A": "2", "B": "x=y", "\udcff": "\udcfe"}


def test_a_goenv_file_is_read_as_go_reads_it() -> None:
    data = b"# GOCACHE=/no\nGOCACHE=/yes\n lower=1\nnothing\n\nGOFLAGS=-a=b"
    assert parse_env_file(data) == {"GOCACHE": "/yes", "GOFLAGS": "-a=b"}


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"HOME": "/h"}, "/h/.config/go/env"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, "/x/go/env"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "x"}, None),
        ({"HOME": "/h", "GOENV": "/e"}, "/e"),
        ({"HOME": "/h", "GOENV": "off"}, None),
        ({}, None),
    ],
)
def test_the_goenv_file_is_where_go_looks_for_it(environ: dict[str, str], place: str | None) -> None:
    assert env_file(environ) == place


@pytest.mark.parametrize(
    ("environ", "files", "place"),
    [
        ({"HOME": "/h"}, [], "/h/.cache/go-build"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, [], "/x/go-build"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "x"}, [], None),
        ({"HOME": "/h", "GOCACHE": "/c"}, [b"GOCACHE=/f\n"], "/c"),
        ({"HOME": "/h", "GOCACHE": ""}, [b"GOCACHE=/f\n"], "/f"),
        ({"HOME": "/h"}, [b"", b"GOCACHE=/root\n"], "/root"),
        ({"HOME": "/h"}, [b"GOCACHE=/user\n", b"GOCACHE=/root\n"], "/user"),
        ({"HOME": "/h", "GOCACHE": "off"}, [], None),
        ({"HOME": "/h", "GOCACHE": "relative"}, [], None),
        ({}, [], None),
    ],
)
def test_the_cache_is_where_go_puts_it(environ: dict[str, str], files: list[bytes], place: str | None) -> None:
    assert cache_location(environ, *files) == place
