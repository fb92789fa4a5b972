"""How `cacheprog` begins and ends: which cache, which settings, and what is said about it afterwards.

Knows:     that go waits for our first line, so it comes before anything that can wait; and that a setting which cannot be read
           costs the second level, not the build.
Called by: `__main__` at once when it sees the word, `cli.cacheprog` after Typer has explained a wrong command line.
Never:     ends the build because of settings; loads them when nothing is set anywhere.
Source:    cmd/go exports GOCACHE to its children (cmd/go/main.go, go1.24 to go1.27).
"""

import os
import sys
import time

from go_cache_safeguard.gocache.progproto import hello

TYPE_CHECKING = False  # see gocache.progproto
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from go_cache_safeguard.config.resolve import Config
    from go_cache_safeguard.flows.cacheprog import Server
    from go_cache_safeguard.flows.fsck_marks import FsckMarks
    from go_cache_safeguard.flows.second_level import SecondLevel
    from go_cache_safeguard.gocache.mark import Marks
    from go_cache_safeguard.gocache.native import Native

SETTINGS = {
    "--remote": "cacheprog.remote",
    "--namespace": "cacheprog.namespace",
    "--verify": "cacheprog.verify",
    "--summary-file": "cacheprog.summary_file",
    "--metrics": "cacheprog.metrics",
    "--state-dir": "state.dir",
}
"""Options that are settings for this run only."""
FLAGS = ("--read-only", "--no-upload", "--summary")
_PREFIX = "GO_CACHE_SAFEGUARD_"
_STATE_DIR = "GO_CACHE_SAFEGUARD_STATE_DIR"
_SYSTEM_FILE = "/etc/go-cache-safeguard/config.toml"
_PROJECT = ".go-cache-safeguard.toml"
_NAMES = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Wish:
    """What the command line asks for.

    Attributes:
        gocache: The cache, or nothing for what go says.
        settings: Keys and texts for this run only.
        read_only: Write into no cache.
        summary: Say on stderr what happened.
        trace: Only look on, and leave what was seen in this folder; nothing for an ordinary run.
        greeted: The first line has been said already.
    """

    __slots__ = ("gocache", "greeted", "read_only", "settings", "summary", "trace")

    def __init__(self) -> None:
        self.gocache = ""
        self.settings: dict[str, str] = {}
        self.read_only = False
        self.summary = False
        self.trace = ""
        self.greeted = False


def parse(arguments: "Sequence[str]") -> Wish | None:
    """Read the command line; None if it needs somebody who explains it.

    Args:
        arguments: After the word `cacheprog`.
    """
    wish = Wish()
    waiting = list(reversed(arguments))
    while waiting:
        name, equals, value = waiting.pop().partition("=")
        if name == "--greeted":
            wish.greeted = True
            continue
        if name in FLAGS and not equals:
            _flag(wish, name)
            continue
        if not equals:
            if not waiting:
                return None
            value = waiting.pop()
        if name == "--gocache":
            wish.gocache = value
        elif name == "--trace":
            wish.trace = value
        elif name in SETTINGS:
            wish.settings[SETTINGS[name]] = value
        elif name == "--set" and "=" in value:
            key, _, text = value.partition("=")
            wish.settings[key.strip()] = text.strip()
        else:
            return None
    return wish


def _flag(wish: Wish, name: str) -> None:
    if name == "--read-only":
        wish.read_only = True
    elif name == "--no-upload":
        wish.settings["cacheprog.upload"] = "no"
    else:
        wish.summary = True


def start(arguments: "Sequence[str]") -> int | None:
    """Serve one go command on stdin and stdout, from its first request to its last.

    Args:
        arguments: After the word `cacheprog`.

    Returns:
        The exit code, or None if the command line needs somebody who explains it.
    """
    wish = parse(arguments)
    if wish is None or sys.stdin is None or os.isatty(0):
        return None
    if not wish.greeted:
        os.write(1, hello(put=not wish.read_only))
    serve(wish)
    return 0


def serve(wish: Wish) -> None:
    """Everything after the first line."""
    began_ns = time.monotonic_ns()
    if os.getpid() != os.getpgrp():
        os.setsid()  # Ctrl-C is for go, which then ends us by closing stdin; `signal` would take milliseconds to load
    named = wish.gocache or os.environ.get("GOCACHE", "")
    root = os.path.realpath(named if named.startswith("/") else _told())
    if wish.trace:
        from go_cache_safeguard.flows.trace_prog import serve_traced  # noqa: PLC0415 - likewise

        serve_traced(root, wish.trace)
        return
    from go_cache_safeguard.flows.cacheprog import Server  # noqa: PLC0415 - likewise
    from go_cache_safeguard.gocache.native import Native, Table  # noqa: PLC0415 - likewise

    try:
        config, trouble = _config(wish)
    except Exception as error:  # noqa: BLE001 - go waits for us, and all settings together are not worth a build
        config, trouble = None, f"settings are not used: {error}"
    if config is not None and sys.flags.no_site:
        import site  # noqa: PLC0415 - where what others wrote is found

        site.main()
    state = config.text("state.dir") if config else os.environ.get(_STATE_DIR) or state_dir(os.environ)
    native = Native(
        root,
        table=Table(table_path(state, root)),
        verify=config.choice("cacheprog.verify") if config else "marks",
        read_only=wish.read_only,
        known=_known(state, root),
    )
    remote = None
    if config is not None and config.text("cacheprog.remote"):
        remote, trouble = _remote(config, native, trouble)
    server = Server(native, inlet=0, outlet=1, remote=remote, greeted=True)
    server.run()
    _afterwards(wish, config, server, native=native, remote=remote, trouble=trouble, began_ns=began_ns)


def state_dir(environ: "Mapping[str, str]") -> str:
    """Where our state lies when nobody says so: what `config.resolve.default_state_dir` says, without loading it."""
    if os.geteuid() == 0:
        return "/var/lib/go-cache-safeguard"
    given = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME") or _home()
    return f"{given if given.startswith('/') else f'{home}/.local/state'}/go-cache-safeguard"


def _home() -> str:
    import pwd  # noqa: PLC0415 - hardly ever needed

    return pwd.getpwuid(os.getuid()).pw_dir


def table_path(state: str, root: str) -> str:
    """The file that holds what was proved in a cache; its folder is made.

    Args:
        state: Our state directory.
        root: Of the cache.
    """
    from binascii import crc32  # noqa: PLC0415 - the first line comes first

    folder = f"{state}/verified"
    try:
        number = os.stat(root).st_ino  # noqa: PTH116 - pathlib takes long to load
        if not os.path.isdir(folder):  # noqa: PTH112 - likewise
            os.makedirs(state, 0o700, exist_ok=True)  # noqa: PTH103 - likewise
            os.mkdir(folder, 0o700)  # noqa: PTH102 - likewise
    except OSError:
        number = 0
    return f"{folder}/{crc32(os.fsencode(root)):08x}-{number:x}.marks"


def nothing_is_set(wish: Wish, environ: "Mapping[str, str]") -> bool:
    """Whether every setting has its default, so that none need be loaded."""
    if wish.settings or any(name.startswith(_PREFIX) and name != _STATE_DIR for name in environ):
        return False
    home = environ.get("HOME") or _home()
    given = environ.get("XDG_CONFIG_HOME", "")
    own = given if given.startswith("/") else f"{home}/.config"
    folder = os.getcwd()  # noqa: PTH109 - pathlib takes long to load
    places = [_SYSTEM_FILE, f"{own}/go-cache-safeguard/config.toml", f"{folder}/{_PROJECT}"]
    while folder != "/":
        folder = folder.rpartition("/")[0] or "/"
        places.append(f"{folder}/{_PROJECT}")
    return not any(map(os.path.lexists, places))


def _config(wish: Wish) -> "tuple[Config | None, str]":
    """The settings, or None if all are at their defaults; and what is wrong with them."""
    if nothing_is_set(wish, os.environ):
        return None, ""
    from pathlib import Path  # noqa: PLC0415 - see above

    from go_cache_safeguard.config.files import load_config  # noqa: PLC0415 - see above
    from go_cache_safeguard.core.errors import Failure  # noqa: PLC0415 - see above

    home = Path(os.environ.get("HOME") or _home())
    try:
        return load_config(environ=os.environ, cwd=Path.cwd(), home=home, arguments=wish.settings), ""
    except Failure as failure:
        return None, f"settings are not used: {failure.what}"


def _told() -> str:
    """What `go env GOCACHE` says: for those who start us by hand."""
    from go_cache_safeguard.flows.progress import Silent  # noqa: PLC0415 - hardly ever needed
    from go_cache_safeguard.flows.session import open_session  # noqa: PLC0415 - likewise

    return str(open_session({}, progress=Silent()).gocache())


def _known(state: str, root: str) -> "Callable[[bytes], Marks | None]":
    """Asks the index of `fsck` what it has hashed, opened at the first question."""
    opened: list[FsckMarks] = []

    def ask(output: bytes) -> "Marks | None":
        if not opened:
            from go_cache_safeguard.flows.fsck_marks import FsckMarks  # noqa: PLC0415 - brings sqlite3

            opened.append(FsckMarks(state, root))
        return opened[0].marks(output)

    return ask


def _remote(config: "Config", native: "Native", trouble: str) -> "tuple[SecondLevel | None, str]":
    from go_cache_safeguard.core.errors import Failure  # noqa: PLC0415 - only with a second level
    from go_cache_safeguard.flows.second_level import Backend, SecondLevel, Terms  # noqa: PLC0415 - likewise

    namespace = config.text("cacheprog.namespace")
    if not 1 <= len(namespace) <= 64 or not set(namespace) <= _NAMES or namespace in {".", ".."}:
        return None, f"there is no second level: cacheprog.namespace {namespace!r} is no name"
    try:
        from go_cache_safeguard.flows.private_file import secret_in  # noqa: PLC0415 - likewise

        key = secret_in(config, "cacheprog.key_file").encode()
        password = secret_in(config, "cacheprog.remote_password_file")
    except Failure as failure:
        return None, f"there is no second level: {failure.what}"
    place = config.text("cacheprog.remote")
    timeout_s = float(config.seconds("cacheprog.timeout"))

    def connect() -> Backend:
        if place.startswith(("redis", "unix:")):
            from go_cache_safeguard.flows.second_level_redis import RedisBackend  # noqa: PLC0415 - in a thread

            ttl_s = config.seconds("cacheprog.ttl")
            return RedisBackend(place, password=password or None, timeout_s=timeout_s, ttl_s=ttl_s)
        from go_cache_safeguard.flows.second_level_objects import ObjectBackend  # noqa: PLC0415 - in a thread

        return ObjectBackend(place, timeout_s=timeout_s)

    terms = Terms(
        namespace=namespace,
        limit=config.size("cacheprog.max_size"),
        key=key,
        upload=config.choice("cacheprog.upload") == "yes" and not native.read_only,
        drain_s=float(config.seconds("cacheprog.drain")),
    )
    return SecondLevel(connect, native, terms), trouble


def _afterwards(
    wish: Wish,
    config: "Config | None",
    server: "Server",
    *,
    native: "Native",
    remote: "SecondLevel | None",
    trouble: str,
    began_ns: int,
) -> None:
    """Say what is to be said; a damaged content always is. Then let go of stdout, which go waits for, and write files."""
    as_json = config is not None and config.choice("log.format") == "json"
    lines = [f"damaged, so not used and built again: {note}" for note in native.notes]
    lines += [trouble] if trouble else []
    file, metrics = (config.text(f"cacheprog.{name}") if config else "" for name in ("summary_file", "metrics"))
    if wish.summary or file or metrics or (remote is not None and remote.wants_builds):
        from go_cache_safeguard.flows.cacheprog_report import Report  # noqa: PLC0415 - only when asked

        report = Report(server.counts, native.damaged, remote, took_ns=time.monotonic_ns() - began_ns)
        lines += report.lines() if wish.summary else []
        _say(lines, as_json=as_json)
        os.close(1)
        for problem in report.write(file, metrics):
            _say([problem], as_json=as_json)
    else:
        _say(lines, as_json=as_json)
    native.close()


def _say(lines: "list[str]", *, as_json: bool) -> None:
    if as_json and lines:
        from go_cache_safeguard.telemetry.logs import json_line  # noqa: PLC0415 - only when asked, and with something to say

        text = "".join(json_line("info", "cacheprog", line) + "\n" for line in lines)
    else:
        text = "".join(f"go-cache-safeguard: {line}\n" for line in lines)
    if text:
        try:
            os.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # nobody listens
