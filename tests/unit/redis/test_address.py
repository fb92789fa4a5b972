"""Where a server is."""

import pytest

from go_cache_safeguard.redis.address import Address, AddressError, parse_address


@pytest.mark.parametrize(
    ("url", "address", "target"),
    [
        ("redis://cache", Address("cache", 6379), "redis://cache:6379"),
        ("redis://ops@10.0.0.1:7000/3", Address("10.0.0.1", 7000, user="ops", db=3), "redis://ops@10.0.0.1:7000"),
        ("rediss://cache:6380/", Address("cache", 6380, tls=True), "rediss://cache:6380"),
        ("redis://[::1]:6379/1", Address("::1", 6379, db=1), "redis://[::1]:6379"),
        ("unix:///run/redis.sock?db=2", Address(path="/run/redis.sock", db=2), "unix:///run/redis.sock"),
        ("unix://ops@/run/r", Address(path="/run/r", user="ops"), "unix://ops@/run/r"),
    ],
)
def test_a_url_names_a_server_and_its_target_finds_it_again(url: str, address: Address, target: str) -> None:
    assert parse_address(url) == address
    assert address.target == target
    assert parse_address(target).target == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cache",
        "http://cache",
        "redis://",
        "redis://h:0",
        "redis://h:99999",
        "redis://h/x",
        "redis://h?db=1",
        "unix://s",
        "redis://h/1\n",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(AddressError):
        parse_address(url)


@pytest.mark.parametrize("url", ["redis://u:secret@h", "redis://:secret@h/0", "unix://u:secret@/run/r"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(AddressError) as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)
