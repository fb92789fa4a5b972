"""Builds as a source of golden signals: what each left behind in the second level of `cacheprog`, or in a file.

Knows:     where that is, and how it is read; that whatever goes wrong while reading is a doubt about the signals.
Called by: `flows.golden`, which chooses a source; the command line, for the namespaces that keys belong to.
Never:     raises what goes wrong with a server or a file when they are looked at: the gate pauses for it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.flows.private_file import secret_in
from go_cache_safeguard.signals.builds import Build, for_builds, golden_of_builds, parse_build
from go_cache_safeguard.signals.gate import Limits
from go_cache_safeguard.signals.golden import Golden, absent

BUILDS = "builds"
"""What a source is called that is builds; `builds:PLACE` says where they leave their figures."""
_TAIL = 1 << 20
"""Bytes of a file that are read: some 2,000 builds."""


class _Told(Protocol):
    """Somebody who was told of builds."""

    def since(self, namespace: str, start_ns: int) -> Iterable[tuple[bytes, int | None]]:
        """Lines, and when each was heard of if that is known.

        Raises:
            OSError: They cannot be read.
        """


def is_builds(source: str) -> bool:
    """Whether a source is builds."""
    return source.partition(":")[0] == BUILDS


def builds_of(config: Config, source: str) -> "BuildSource":
    """The source that somebody named.

    Args:
        config: The settings.
        source: `builds` for the second level of the settings, `builds:redis://...`, or `builds:/FILE` of `--summary-file`.

    Raises:
        ConfigBad: It can be none of these.
    """
    place = source.partition(":")[2] or config.text("cacheprog.remote")
    if place.startswith("/"):
        return BuildSource(_InFile(Path(place)))
    if not place.startswith(("redis", "unix:")):
        raise ConfigBad(
            f"{place or 'no second level'}: builds leave their figures in a Redis only",
            hint="name the file that cacheprog's --summary-file writes: builds:/FILE",
        )
    if "@" in place and ":" in place.rpartition("@")[0].partition("//")[2]:
        raise ConfigBad(
            "the address of the second level holds a password",
            hint="it goes into the file of cacheprog.remote_password_file",
        )
    password = secret_in(config, "cacheprog.remote_password_file")
    return BuildSource(_InRedis(place, password, float(config.seconds("cacheprog.timeout"))))


def build_limits(config: Config, limits: Limits) -> Limits:
    """What builds have to keep, after the settings."""
    return for_builds(
        limits,
        builds=config.count("signals.builds"),
        misses=config.share("signals.build_misses").per_million / 1e6,
        stale_s=config.seconds("signals.wave_patience"),
    )


def namespaces_of(keys: Iterable[bytes]) -> tuple[str, ...]:
    """Parts of the second level that keys of a Redis belong to."""
    from go_cache_safeguard.flows.second_level_redis import PREFIX  # noqa: PLC0415 - redis: loaded where used

    start = PREFIX.encode()
    found = {key.removeprefix(start).partition(b"/")[0] for key in keys if key.startswith(start) and b"/" in key}
    return tuple(sorted(name.decode("utf-8", "replace") for name in found))


@dataclass(frozen=True, slots=True)
class BuildSource:
    """Builds, wherever they leave their figures. A service is a namespace here."""

    told: _Told

    def look(self, services: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, Golden]:
        """See `flows.golden.Source`."""
        return {name: self._one(name, start_ns, end_ns) for name in services}

    def _one(self, namespace: str, start_ns: int, end_ns: int) -> Golden:
        builds: list[Build] = []
        try:
            for line, told_ns in self.told.since(namespace, start_ns):
                build = parse_build(line, told_ns=told_ns)
                if build is not None:
                    builds.append(build)
        except (OSError, ValueError) as error:
            return absent(namespace, start_ns, end_ns, f"what builds left behind cannot be read: {error}")
        return golden_of_builds(namespace, builds, start_ns, end_ns)


@dataclass(frozen=True, slots=True)
class _InFile:
    """A file with a line for each build."""

    path: Path

    def since(self, namespace: str, start_ns: int) -> Iterable[tuple[bytes, int | None]]:  # noqa: ARG002 - a file has no index
        """See `_Told`; the end of the file only."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read(_TAIL).split(b"\n")
        whole = lines[1:-1] if size > _TAIL else lines[:-1]  # what has no end yet is being written
        return [(line, None) for line in whole]


@dataclass(frozen=True, slots=True, repr=False)
class _InRedis:
    """The server of the second level."""

    url: str
    password: str
    timeout_s: float

    def since(self, namespace: str, start_ns: int) -> Iterable[tuple[bytes, int | None]]:
        """See `_Told`."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - loaded where used

        from go_cache_safeguard.flows.second_level_redis import RedisBackend  # noqa: PLC0415 - likewise

        try:
            backend = RedisBackend(self.url, password=self.password or None, timeout_s=self.timeout_s, ttl_s=0)
            try:
                return backend.told(namespace, start_ns)
            finally:
                backend.close()
        except RedisError as error:
            raise OSError(str(error)) from error
