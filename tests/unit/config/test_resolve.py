"""Which place wins, what a project may not say, and how a value is asked for."""

from itertools import permutations

import pytest

from go_cache_safeguard.config.layer import ConfigBad, Given, Layer, Place
from go_cache_safeguard.config.resolve import Origin, default_state_dir, resolve
from go_cache_safeguard.config.setting import SETTINGS
from go_cache_safeguard.core.policy import Policy, Then
from go_cache_safeguard.core.size import Share


def _says(place: Place, key: str, text: str) -> Layer:
    return Layer(place, (Given(key, text, f"/{place}:1"),))


def test_with_no_layer_every_setting_has_its_default() -> None:
    config = resolve([])
    assert set(config.values) == set(config.texts) == set(config.origins) == {setting.key for setting in SETTINGS}
    assert config.policy() == Policy()
    assert config.origin("policy.on_block") == Origin(Place.DEFAULT, "")


def test_the_later_place_wins_in_whatever_order_they_are_given() -> None:
    layers = [_says(place, "fsck.threads", str(at)) for at, place in enumerate(Place)]
    for order in permutations(layers):
        config = resolve(order)
        assert config.count("fsck.threads") == len(Place) - 1
        assert config.texts["fsck.threads"] == str(len(Place) - 1)
        assert config.origin("fsck.threads") == Origin(Place.ARGUMENT, "/argument:1")


@pytest.mark.parametrize("key", [setting.key for setting in SETTINGS if not setting.project])
def test_a_project_file_may_not_set_what_is_about_safety_not_even_to_the_default(key: str) -> None:
    default = next(setting.default for setting in SETTINGS if setting.key == key)
    with pytest.raises(ConfigBad, match=f"/project:1: a project file may not set {key}"):
        resolve([_says(Place.PROJECT, key, default)])


def test_a_bad_value_is_an_error_even_where_another_place_wins() -> None:
    with pytest.raises(ConfigBad, match=r"/system:1: policy\.on_block = 'maybe' is not allowed") as caught:
        resolve([_says(Place.SYSTEM, "policy.on_block", "maybe"), _says(Place.ARGUMENT, "policy.on_block", "hold")])
    assert caught.value.hint == "allowed: allow, hold or refuse"


def test_each_kind_of_value_is_asked_for_by_its_own_name() -> None:
    given = (
        Given("policy.on_warn", "refuse", ""),
        Given("policy.hold_share", "5%", ""),
        Given("policy.hold_bytes", "1K", ""),
        Given("clean.wait", "2m", ""),
        Given("go.command", "/opt/go/bin/go", ""),
    )
    config = resolve([Layer(Place.USER, given)])
    assert config.choice("policy.on_warn") == "refuse"
    assert config.share("policy.hold_share") == Share(50_000)
    assert config.size("policy.hold_bytes") == 1024
    assert config.seconds("clean.wait") == 120
    assert config.text("go.command") == "/opt/go/bin/go"
    assert config.policy() == Policy(on_warn=Then.REFUSE, hold_share=Share(50_000), hold_bytes=1024)
    with pytest.raises(TypeError, match="not of the kind"):
        config.count("go.command")


@pytest.mark.parametrize(
    ("environ", "root", "folder"),
    [
        ({}, True, "/var/lib/go-cache-safeguard"),
        ({"XDG_STATE_HOME": "/s"}, True, "/var/lib/go-cache-safeguard"),
        ({"XDG_STATE_HOME": "/s"}, False, "/s/go-cache-safeguard"),
        ({"XDG_STATE_HOME": "s"}, False, "/h/.local/state/go-cache-safeguard"),
        ({}, False, "/h/.local/state/go-cache-safeguard"),
    ],
)
def test_the_journal_has_a_place_without_being_told(environ: dict[str, str], *, root: bool, folder: str) -> None:
    assert default_state_dir(environ, "/h", root=root) == folder
