"""The sockets where clients come in, bound before anything else begins.

Knows:     that all places have to be free before one client is let in, and who may connect to a Unix socket.
Called by: `flows.redis_workers`.
Never:     takes a place away from somebody who listens there; removes anything but a socket at which nobody listens any more.
Source:    unix(7): connect(2) to a socket whose process is gone fails with ECONNREFUSED; socket(7): SO_REUSEPORT.
"""

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.redis.route import Where

_SOON_S = 2


class CannotListen(Failure):
    """A place where clients were to come in is taken, or none of ours."""

    id = "cannot-listen"
    exit_code = ExitCode.TARGET
    meaning = "the proxy cannot listen where it should: the address is taken, or not of this machine, or not allowed"


def bind(places: Sequence[Where], *, unix_mode: int, shared: bool) -> dict[Where, socket.socket]:
    """Bind every place; nobody is let in yet.

    Args:
        places: Where.
        unix_mode: Who may connect to Unix sockets.
        shared: Whether several processes will listen at each TCP port.

    Raises:
        CannotListen: One of them cannot be had; none is bound then.
    """
    bound: dict[Where, socket.socket] = {}
    try:
        for where in places:
            bound[where] = _bound_at(where, unix_mode=unix_mode, shared=shared)
    except CannotListen:
        for one in bound.values():
            one.close()
        raise
    return bound


def again(one: socket.socket) -> socket.socket:
    """One more socket at the same TCP port, for another process."""
    return _bound(one.family, one.getsockname(), shared=True)


def _bound_at(where: Where, *, unix_mode: int, shared: bool) -> socket.socket:
    try:
        return _unix(where.path, unix_mode) if where.path else _tcp(where, shared=shared)
    except OSError as error:
        raise CannotListen(
            f"{where.name}: {error.strerror or error}",
            not_done="no client was let in",
            hint="give another place with --listen host:port or unix:///path",
        ) from error


def _tcp(where: Where, *, shared: bool) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)[0]
    return _bound(family, address, shared=shared)


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _unix(path: str, mode: int) -> socket.socket:
    _clear(Path(path))
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        one.bind(path)
    except OSError:
        one.close()
        raise
    finally:
        os.umask(before)
    return one


def _clear(path: Path) -> None:
    """Take away a socket at which nobody listens any more."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(17, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SOON_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(17, "somebody listens there already")
