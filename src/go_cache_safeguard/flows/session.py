"""Who works on what, with which settings: what every story begins with.

Knows:     how the target is found, who the requester is, where our own state lies.
Called by: the command line makes one `Session`; every flow takes it.
Never:     creates or changes anything in a cache; makes our own state directory only when a journal is opened for writing.
Source:    the default cache is what `go env GOCACHE` says (cmd/go/internal/cache/default.go, go1.21 to go1.27).
"""

import os
import pwd
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from go_cache_safeguard import __version__
from go_cache_safeguard.approval.eyes import login_accounts, principal
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.config.layer import Place
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.core.operation import operation_id
from go_cache_safeguard.flows.progress import Progress, Silent

if TYPE_CHECKING:
    from go_cache_safeguard.gotool.environment import GoEnv
    from go_cache_safeguard.gotool.run import Go
    from go_cache_safeguard.journal.store import Journal, Keeper

_NO_LOGIN = 4_294_967_295


class NoTarget(Failure):
    """There is no cache to work on."""

    id = "no-target"
    exit_code = ExitCode.TARGET
    meaning = "no Go build cache was found"


@dataclass
class Session:
    """One run of the program.

    Attributes:
        config: Settings with their origins.
        environ: The environment of the process.
        cwd: Where it was started.
        progress: Told what is going on.
        wrote: Whether the journal was opened for writing, or could not be opened.
    """

    config: Config
    environ: Mapping[str, str]
    cwd: Path
    progress: Progress = field(default_factory=Silent)
    wrote: bool = False

    @cached_property
    def actor(self) -> str:
        """Who runs this, for example `uid:1000(alice)`."""
        names = {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}
        return principal(os.getuid(), _login_uid(), self.environ.get("SUDO_UID"), names)

    @cached_property
    def accounts(self) -> tuple[str, ...]:
        """People who can log in here; empty when that cannot be known."""
        try:
            return login_accounts(Path("/etc/passwd").read_bytes())
        except OSError:
            return ()

    @cached_property
    def state_dir(self) -> Path:
        """Where journal, plans and indexes of ours lie."""
        return Path(self.config.text("state.dir"))

    @cached_property
    def home(self) -> Path:
        """The user's home directory."""
        return Path(self.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)

    @cached_property
    def go(self) -> "Go":
        """The go command.

        Raises:
            GoMissing: There is none.
        """
        return self._go(None)

    def go_for(self, uid: int, gid: int) -> "Go":
        """The go command with the rights of a cache's owner: what root's go wrote there would be root's.

        Raises:
            GoMissing: There is none.
        """
        return self._go((uid, gid))

    def _go(self, owner: tuple[int, int] | None) -> "Go":
        from go_cache_safeguard.gotool.run import Go, find_go  # noqa: PLC0415 - starts processes: loaded where used

        configured = self.config.text("go.command")
        executable = find_go(Path(configured) if configured else None, self.environ.get("PATH", ""))
        return Go(
            executable,
            environ=self.environ,
            timeout_s=self.config.seconds("go.timeout"),
            owner=owner,
            toolchain=self.config.text("go.toolchain"),
        )

    @cached_property
    def go_env(self) -> "GoEnv":
        """What `go env` says."""
        return self.go.env()

    @property
    def default_wait_s(self) -> int:
        """How long outputs wait for running go commands, in seconds: in a CI job not at all, unless somebody set it."""
        in_ci = self.environ.get("CI", "").lower() not in {"", "0", "false"}
        if in_ci and self.config.origin("clean.wait").layer is Place.DEFAULT:
            return 0
        return self.config.seconds("clean.wait")

    def gocache(self, given: Path | None = None) -> Path:
        """The build cache to work on, resolved.

        Args:
            given: `--gocache`; otherwise the environment's GOCACHE or what `go env` says.

        Raises:
            NoTarget: A path was given that is relative, or GOCACHE is off.
        """
        named = str(given) if given is not None else self.environ.get("GOCACHE", "")
        if given is None and (not named or not named.startswith("/")):
            # Not set, relative or `off`: go's own answer is the truth, and its own words the best error.
            named = self.go_env.cache
        if not named.startswith("/"):
            raise NoTarget(
                f"GOCACHE is {named!r}, which is not an absolute path",
                not_done="nothing was read or changed",
                hint="give the cache with --gocache /path/to/go-build, or unset GOCACHE",
            )
        return Path(os.path.realpath(named))

    def state_folder(self, name: str) -> Path:
        """A folder in our own state directory, made if need be; both are for their owner only.

        Raises:
            OSError: It cannot be made.
        """
        # Not `parents` alone: that would give the state directory itself the mode of the umask.
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self.state_dir / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def index_path(self, gocache: Path) -> Path:
        """The file that remembers what was verified in this cache."""
        from hashlib import sha256  # noqa: PLC0415 - only here

        name = sha256(os.fsencode(gocache)).hexdigest()[:16]
        return self.state_dir / "verified" / f"{name}.sqlite"

    def journal(self, *, read_only: bool = False) -> "Journal":
        """Open the journal."""
        from go_cache_safeguard.journal.store import open_journal  # noqa: PLC0415 - brings sqlite3

        self.wrote |= not read_only
        try:
            return open_journal(
                self.state_dir / "journal.sqlite",
                actor=self.actor,
                version=__version__,
                read_only=read_only,
                keeper=None if read_only else self._keeper(),
            )
        except Failure:
            self.wrote = True  # whoever follows the journal is to hear of it
            raise

    def _keeper(self) -> "Keeper":
        from go_cache_safeguard.flows.checkpoint import AutoKeeper  # noqa: PLC0415 - loaded where used

        return AutoKeeper(self.config, self.progress)


def open_session(arguments: Mapping[str, str], *, progress: Progress) -> Session:
    """Read the settings and look around.

    Args:
        arguments: Settings given on the command line, key to text.
        progress: Told what is going on.
    """
    environ = dict(os.environ)
    cwd = Path.cwd()
    home = Path(environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    config = load_config(environ=environ, cwd=cwd, home=home, arguments=arguments)
    return Session(config, environ, cwd, progress)


def now_text() -> str:
    """The present, RFC 3339 UTC to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_operation_id() -> str:
    """A name for a new operation."""
    return operation_id(time.time_ns() // 10**6, secrets.randbits(35))


def host_name() -> str:
    """This machine's name."""
    return socket.gethostname()


def _login_uid() -> int | None:
    """The uid that logged in, as the kernel keeps it through sudo; None when it is not known."""
    try:
        uid = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == _NO_LOGIN else uid
