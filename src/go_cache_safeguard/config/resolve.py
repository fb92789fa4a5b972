"""From what several places say to one value each.

Knows:     which place wins, what a project file may not set, and how a value is asked for.
Called by: `config.files` makes a `Config`; the command line and `flows` ask it.
Never:     reads a file, the environment or the machine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from go_cache_safeguard.config.layer import ConfigBad, Given, Layer, Place
from go_cache_safeguard.config.setting import BY_KEY, SETTINGS, Value
from go_cache_safeguard.core.policy import Policy, Then
from go_cache_safeguard.core.size import Share

_T = TypeVar("_T", str, int, Share)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Attributes:
        layer: See `Place`.
        where: `file:line`, the name of a variable, `the command line`, or nothing for a plain default.
    """

    layer: Place
    where: str


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting with its value and its origin.

    Attributes:
        values: From each key to its value; complete.
        texts: From each key to the text it was read from; complete.
        origins: From each key to where that text stood; complete.
    """

    values: Mapping[str, Value]
    texts: Mapping[str, str]
    origins: Mapping[str, Origin]

    def text(self, key: str) -> str:
        """A path or a toolchain; may be empty."""
        return _is(self.values[key], str)

    def choice(self, key: str) -> str:
        """One of the words that the setting allows."""
        return _is(self.values[key], str)

    def seconds(self, key: str) -> int:
        """A length of time, in seconds."""
        return _is(self.values[key], int)

    def size(self, key: str) -> int:
        """A number of bytes."""
        return _is(self.values[key], int)

    def count(self, key: str) -> int:
        """A plain number."""
        return _is(self.values[key], int)

    def share(self, key: str) -> Share:
        """A part of something."""
        return _is(self.values[key], Share)

    def origin(self, key: str) -> Origin:
        """Where the value was set."""
        return self.origins[key]

    def policy(self) -> Policy:
        """The site's rules, for `core.policy.decide`."""
        return Policy(
            on_block=Then(self.choice("policy.on_block")),
            on_unknown=Then(self.choice("policy.on_unknown")),
            on_warn=Then(self.choice("policy.on_warn")),
            hold_share=self.share("policy.hold_share"),
            hold_bytes=self.size("policy.hold_bytes"),
        )


def resolve(layers: Iterable[Layer]) -> Config:
    """Join what several places say.

    Args:
        layers: In any order; `Place` says who wins. Of two with one place the later wins.

    Raises:
        ConfigBad: A value is not allowed, even one that another place would win over; or a project file sets what it
            may not.
    """
    winners = {s.key: (Place.DEFAULT, Given(s.key, s.default, "")) for s in SETTINGS}
    values: dict[str, Value] = {s.key: s.read(s.default) for s in SETTINGS}
    rank = tuple(Place).index
    for layer in sorted(layers, key=lambda layer: rank(layer.place)):
        for given in layer.given:
            values[given.key] = _value(layer.place, given)
            winners[given.key] = (layer.place, given)
    texts = {key: given.text for key, (_, given) in winners.items()}
    origins = {key: Origin(place, given.where) for key, (place, given) in winners.items()}
    return Config(values, texts, origins)


def default_state_dir(environ: Mapping[str, str], home: str, *, root: bool) -> str:
    """Where the journal lives when nobody says so: an absolute path.

    Source: XDG Base Directory Specification 0.8: a relative `XDG_STATE_HOME` is to be ignored.
    """
    if root:
        return "/var/lib/go-cache-safeguard"
    given = environ.get("XDG_STATE_HOME", "")
    return f"{given if given.startswith('/') else f'{home}/.local/state'}/go-cache-safeguard"


def _value(place: Place, given: Given) -> Value:
    setting = BY_KEY[given.key]
    if place is Place.PROJECT and not setting.project:
        raise ConfigBad(
            f"{given.where}: a project file may not set {given.key}: a repository that one clones is not trusted",
            hint=f"set it in your own file or with {setting.variable}",
        )
    try:
        return setting.read(given.text)
    except ValueError as error:
        raise ConfigBad(
            f"{given.where}: {given.key} = {given.text!r} is not allowed", hint=f"allowed: {setting.allowed}"
        ) from error


def _is(value: Value, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not of the kind that was asked for")
    return value
