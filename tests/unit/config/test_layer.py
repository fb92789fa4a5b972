"""What one place says: each value keeps its line, and each kind of nonsense is named with its place."""

import pytest

from go_cache_safeguard.config.layer import ConfigBad, Given, Place, argument_layer, environ_layer, toml_layer
from go_cache_safeguard.core.errors import ExitCode

FILE = b"""# a comment with policy.on_block = 1
[policy]
hold_share = "10%"   # on_warn = "x"
on_warn= "hold"

[fsck]
threads = 4
"""


def test_each_value_of_a_file_keeps_its_line() -> None:
    layer = toml_layer(Place.USER, FILE, "/f")
    assert layer.place is Place.USER
    assert layer.given == (
        Given("policy.hold_share", "10%", "/f:3"),
        Given("policy.on_warn", "hold", "/f:4"),
        Given("fsck.threads", "4", "/f:7"),
    )


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'\npolicy.on_warn = "hold"', 2),
        (b'\n\n["policy"]\n"on_warn" = "hold"', 1),
        (b'[policy]\n"on_warn" = "hold"', 2),
        (b'\npolicy = {on_warn = "hold"}', 2),
        (b'\xef\xbb\xbf\r\n[policy]\r\non_warn = "hold"', 3),
        (b'[output]\ncolor = "never"\n[policy]\non_warn = "hold"', 4),
    ],
)
def test_a_key_is_found_however_it_is_written_or_falls_back_to_the_first_line(data: bytes, line: int) -> None:
    given = toml_layer(Place.SYSTEM, data, "/f").given[-1]
    assert given == Given("policy.on_warn", "hold", f"/f:{line}")


def test_an_empty_file_says_nothing() -> None:
    assert toml_layer(Place.SYSTEM, b"", "/f").given == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[policy]\non_warn 3", "/f:2:9: "),
        (b"[policy]\non_warn =", "/f:2:10: "),
        (b"[policy\n", "/f:1:8: "),
        (b"x = '''\n", "/f:2:1: "),
        (b"a = 1\na = 2", "/f:2:6: "),
        (b"x\n\xff", "/f:2:1: the file is not UTF-8"),
        (b"x = " + b"[" * 100_000, "/f: brackets are nested too deeply"),
        (b"x = " + b"1" * 5000, "/f: Exceeds the limit"),
    ],
)
def test_bad_syntax_is_named_with_line_and_column(data: bytes, message: str) -> None:
    with pytest.raises(ConfigBad) as caught:
        toml_layer(Place.USER, data, "/f")
    assert caught.value.what.startswith(message)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert caught.value.not_done == "nothing was started"


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (b"[policy]\non_blok = 'hold'", "/f:2: there is no setting 'policy.on_blok'", "did you mean policy.on_block?"),
        (b"\nzzzzzz = 1", "/f:2: there is no setting 'zzzzzz'", "see docs/config.md"),
        (b"[policy.on_block]\nx = 1", "/f:1: policy.on_block = {'x': 1} is not allowed", "allowed: allow, hold"),
        (b"[fsck]\nthreads = true", "/f:2: fsck.threads = True is not allowed", "allowed: a whole number"),
        (b"[fsck]\nthreads = 1.5", "/f:2: fsck.threads = 1.5 is not allowed", "allowed: a whole number"),
    ],
)
def test_an_unknown_key_or_a_wrong_type_is_named_with_what_would_be_right(data: bytes, what: str, hint: str) -> None:
    with pytest.raises(ConfigBad) as caught:
        toml_layer(Place.USER, data, "/f")
    assert caught.value.what == what
    assert caught.value.hint.startswith(hint)


def test_a_variable_is_read_and_an_empty_one_counts_as_not_set() -> None:
    layer = environ_layer({"GO_CACHE_SAFEGUARD_FSCK_THREADS": "2", "GO_CACHE_SAFEGUARD_STATE_DIR": "", "GOCACHE": "/x"})
    assert layer.given == (Given("fsck.threads", "2", "GO_CACHE_SAFEGUARD_FSCK_THREADS"),)


def test_a_variable_that_begins_like_ours_and_is_none_is_an_error() -> None:
    with pytest.raises(ConfigBad, match="there is no variable GO_CACHE_SAFEGUARD_POLICY_ON_BLOC") as caught:
        environ_layer({"GO_CACHE_SAFEGUARD_POLICY_ON_BLOC": "hold"})
    assert caught.value.hint == "did you mean GO_CACHE_SAFEGUARD_POLICY_ON_BLOCK?"


def test_the_command_line_is_taken_by_key() -> None:
    assert argument_layer({"output.color": "never"}).given == (Given("output.color", "never", "the command line"),)
    with pytest.raises(ConfigBad, match=r"the command line: there is no setting 'output\.colour'"):
        argument_layer({"output.colour": "never"})
