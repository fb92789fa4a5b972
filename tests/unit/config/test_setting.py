"""The table of settings: each default is allowed by its own rule, and each rule refuses what it must."""

import pytest

from go_cache_safeguard.config.setting import BY_KEY, SETTINGS, Kind, Setting
from go_cache_safeguard.core.size import Share


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_default_is_allowed_by_its_own_rule(setting: Setting) -> None:
    setting.read(setting.default)
    assert setting.key.count(".") == 1
    assert setting.what.endswith(".")
    assert (setting.kind is Kind.CHOICE) == bool(setting.choices)


def test_no_two_settings_share_a_key_or_a_variable() -> None:
    assert len(BY_KEY) == len(SETTINGS) == len({setting.variable for setting in SETTINGS})


def test_a_project_file_may_set_nothing_that_loosens_safety() -> None:
    assert {setting.key for setting in SETTINGS if setting.project} == {"fsck.threads", "go.timeout", "output.color"}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("policy.on_block", "refuse", "refuse"),
        ("policy.hold_share", "12.5%", Share(125_000)),
        ("policy.hold_bytes", "20GiB", 20 << 30),
        ("policy.hold_bytes", "1073741824", 1 << 30),
        ("approval.expires", "1h30m", 5400),
        ("fsck.threads", "256", 256),
        ("state.dir", "/srv/state", "/srv/state"),
        ("state.dir", "", ""),
        ("go.toolchain", "go1.27.3+auto", "go1.27.3+auto"),
        ("clean.wait", "0s", 0),
        ("redis.trash", "", ""),
        ("redis.trash", "/srv/trash", "/srv/trash"),
        ("redis.trash", "s3://bucket/prefix?region=x", "s3://bucket/prefix?region=x"),
        ("redis.trash", "rediss://guard@h:6380/1", "rediss://guard@h:6380/1"),
        ("redis.trash", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis.protect", " session:*\n re:a+ ", "session:*\n re:a+"),
    ],
)
def test_a_value_is_read_in_its_unit(key: str, text: str, value: object) -> None:
    assert BY_KEY[key].read(text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("policy.on_block", "Hold"),
        ("policy.on_block", ""),
        ("policy.hold_share", "1GiB"),
        ("policy.hold_share", "101%"),
        ("policy.hold_bytes", "10%"),
        ("policy.hold_bytes", "-1"),
        ("approval.expires", "59s"),
        ("redis.protect", "a\x1b"),
        ("redis.trash", "redis.rdb"),
        ("redis.trash", "relative/path"),
        ("redis.trash", "http://h/"),
        ("redis.trash", "redis://h:1 x"),
        ("redis.on_unknown", "pass"),
        ("approval.expires", "24"),
        ("fsck.threads", "257"),
        ("fsck.threads", "-1"),
        ("fsck.threads", "2.0"),
        ("fsck.threads", "\N{ARABIC-INDIC DIGIT TWO}"),
        ("go.command", "go"),
        ("go.command", "/usr/../tmp/go"),
        ("go.command", "/bin/go\n"),
        ("state.dir", "~/state"),
        ("go.toolchain", "local; rm"),
        ("go.toolchain", ""),
        ("go.timeout", "0s"),
    ],
)
def test_what_is_not_allowed_is_not_read(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        BY_KEY[key].read(text)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("policy.on_warn", "allow, hold or refuse"),
        ("fsck.threads", "a whole number, from 0 to 256"),
        ("approval.expires", ", at least 1m"),
        ("state.dir", "an absolute path, or nothing"),
    ],
)
def test_what_is_allowed_is_said_in_words(key: str, words: str) -> None:
    assert BY_KEY[key].allowed.endswith(words)


def test_a_variable_is_named_after_its_key() -> None:
    assert BY_KEY["policy.on_block"].variable == "GO_CACHE_SAFEGUARD_POLICY_ON_BLOCK"
