"""What may enter a module cache from outside."""

import pytest

from go_cache_safeguard.gomod.member import remembered_hash, why_omitted, why_refused

DEEP = "cache/download/example.com/!deep/@v"


@pytest.mark.parametrize(
    "file", ["v1.0.0.zip", "v1.0.0.mod", "v1.0.0.info", "list", "v0.0.0-20200101000000-0123456789ab.zip"]
)
def test_what_go_downloads_is_welcome(file: str) -> None:
    assert why_omitted(f"{DEEP}/{file}") is None
    assert why_refused(f"{DEEP}/{file}") is None


@pytest.mark.parametrize(
    "name",
    [
        f"{DEEP}/v1.0.0.ziphash",
        f"{DEEP}/v1.0.0.lock",
        f"{DEEP}/v1.0.0.partial",
        "cache/lock",
        "cache/download/sumdb/x/tile/8/0/001",
        "cache/vcs/0123/HEAD",
        "example.com/!deep@v1.0.0/deep.go",
        "example.com/!deep@v1.0.0/sub/deep.go",
    ],
)
def test_what_go_makes_again_stays_out(name: str) -> None:
    assert why_omitted(name)


@pytest.mark.parametrize(
    "name",
    [
        "go.mod",
        "cache/x",
        "cache/download/x",
        f"{DEEP}/x.zip",
        f"{DEEP}/.zip",
        f"{DEEP}/v1.0.0.exe",
        f"{DEEP}/v1.0.0.zip/x",
        f"{DEEP}/list2",
        "cache/download/example.com/Deep/@v/v1.0.0.zip",
        "cache/download/@v/v1.0.0.zip",
        "example.com/deep/deep.go",
        "example.com/deep@v1.0.0",
    ],
)
def test_names_that_go_never_gives_are_refused(name: str) -> None:
    assert why_omitted(name) is None
    assert why_refused(name)


def test_go_would_believe_a_zip_beside_its_hash() -> None:
    assert remembered_hash(f"{DEEP}/v1.0.0.zip") == f"{DEEP}/v1.0.0.ziphash"
    assert remembered_hash(f"{DEEP}/v1.0.0.mod") is None
