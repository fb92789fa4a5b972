"""`gomod.semver`: which version is the newer one."""

from go_cache_safeguard.gomod.semver import rank

ORDER = [
    "not a version",
    "v0.0.0-20200101000000-0123456789ab",
    "v0.0.0-20210101000000-0123456789ab",
    "v0.1.0-alpha",
    "v0.1.0-alpha.1",
    "v0.1.0-alpha.2",
    "v0.1.0-alpha.10",
    "v0.1.0-alpha.beta",
    "v0.1.0-beta",
    "v0.1.0-rc.1",
    "v0.1.0",
    "v0.1.1-0.20210101000000-0123456789ab",
    "v0.1.1",
    "v0.9.0",
    "v0.10.0",
    "v1.0.0",
    "v2.0.0+incompatible",
    "v10.0.0",
]


def test_versions_are_ordered_as_the_specification_says() -> None:
    assert sorted(sorted(ORDER, reverse=True), key=rank) == ORDER
    assert len({rank(version) for version in ORDER}) == len(ORDER)


def test_what_follows_a_plus_does_not_count() -> None:
    assert rank("v2.0.0+incompatible") == rank("v2.0.0")


def test_numbers_without_end_are_no_fault() -> None:
    assert rank(f"v1.0.{'9' * 9_999}") == rank("")
    assert rank(f"v1.0.0-{'9' * 9_999}") > rank("v1.0.0-1")


def test_what_is_no_version_comes_first_and_is_no_fault() -> None:
    assert rank("") == rank("v1") == rank("1.2.3") == rank("v1.2.3-") < rank("v0.0.0-0")
