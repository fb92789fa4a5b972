"""Users of a server and what they may do, as its own access control list tells it.

Knows:     how lines of ACL LIST are read, which commands a list of rules adds up to, and the words that put a user back as it was.
Called by: `redis.harden`, `flows.redis_harden`.
Never:     keeps a password, or the hash of one: of an account only whether it is on and whether it needs any.
Source:    acl.c `ACLSetUser`, `ACLSetSelector`, `ACLDescribeUser` of Redis 6.2 and 7.0 and Valkey 9: a container takes its
           subcommands with it, also when a category adds it; Redis 6.2 knows no selectors, no %R~ and no denied subcommands.

Words are text in which each character stands for one byte (Latin-1), because keys and names may be any bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TRY = "go-cache-safeguard-try-"
"""How users begin with which the guard tries, before Redis 7, what a server refuses."""
_ACCOUNT = ("on", "off", "nopass", "resetpass", "sanitize-payload", "skip-sanitize-payload")
_ALL, _NONE = {"+@all", "allcommands"}, {"-@all", "nocommands"}


@dataclass(frozen=True, slots=True)
class Known:
    """One command as a server describes it.

    Attributes:
        name: Lower case; `config|get` for a subcommand.
        arity: Number of words, a subcommand's name included; negative for "at least".
        categories: Without the `@`.
        container: Whether it has subcommands of its own in the server's description.
    """

    name: str
    arity: int
    categories: frozenset[str]
    container: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What the root of a user, or one selector, allows.

    Attributes:
        keys: `~pattern`, `%R~pattern`.
        commands: `+@all`, `-del`, `+config|get`, in their order.
        others: Channels, databases, and whatever else a server writes there.
    """

    keys: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """In the order in which a server takes them."""
        return (*self.keys, *self.others, *self.commands)

    @property
    def settled(self) -> tuple[str, ...]:
        """The same, to be compared: Redis 7.0 writes single commands now in this order, now in that."""
        wide = max((at + 1 for at, word in enumerate(self.commands) if word[1:2] == "@"), default=0)
        single = sorted(self.commands[wide:], key=lambda word: word[1:])
        return (*self.keys, *self.others, *self.commands[:wide], *single)


@dataclass(frozen=True, slots=True)
class User:
    """One account.

    Attributes:
        name: Its name.
        on: Whether it can log in.
        nopass: Whether it needs no password for that.
        root: What it may do.
        selectors: What it may do besides; Redis 7.0 and later.
    """

    name: str
    on: bool = True
    nopass: bool = False
    root: Grant = field(default_factory=Grant)
    selectors: tuple[Grant, ...] = ()

    @property
    def back(self) -> tuple[str, ...]:
        """For ACL SETUSER: makes the user what it is now, whatever it is then. Says nothing of passwords."""
        clear = ("clearselectors",) if self.selectors else ()
        selectors = tuple(f"({' '.join(one.words)})" for one in self.selectors)
        none = () if self.root.commands[:1] == ("-@all",) else ("-@all",)
        return (*clear, "resetkeys", *self.root.keys, *none, *self.root.commands, *selectors)

    @property
    def text(self) -> str:
        """All that is known of it, to be compared; no password, no hash."""
        account = f"{'on' if self.on else 'off'}{' nopass' if self.nopass else ''}"
        selectors = " ".join(f"({' '.join(one.settled)})" for one in self.selectors)
        return f"{account} {' '.join(self.root.settled)} {selectors}".rstrip()


def read_commands(reply: Sequence[Any]) -> dict[str, Known]:
    """Read the reply to COMMAND; a server before 7.0 tells of no subcommands."""
    found: dict[str, Known] = {}
    for entry in reply:
        subs = read_commands(entry[9]) if len(entry) > 9 else {}
        name = _text(entry[0]).lower()
        categories = frozenset(_text(one).lstrip("@") for one in entry[6]) if len(entry) > 6 else frozenset[str]()
        found[name] = Known(name, int(entry[1]), categories, bool(subs))
        found.update(subs)
    return found


def read_user(line: bytes) -> User:
    """Read one line of ACL LIST.

    Raises:
        ValueError: It is none.
    """
    word, name, *words = _text(line).split(" ")
    if word != "user" or not name:
        raise ValueError("this is no line of ACL LIST")
    root: list[str] = []
    selectors: list[Grant] = []
    inside: list[str] | None = None
    for one in words:
        if inside is None and one.startswith("("):
            inside, one = [], one[1:]  # noqa: PLW2901 - the bracket is not part of the word
        if inside is None:
            root.append(one)
            continue
        inside.append(one.removesuffix(")"))
        if one.endswith(")"):
            selectors.append(_grant(inside))
            inside = None
    return User(name, "on" in words, "nopass" in words, _grant(root), tuple(selectors))


def held(words: Sequence[str], commands: Mapping[str, Known]) -> frozenset[str]:
    """The commands that a list of rules adds up to.

    Args:
        words: As in `Grant.commands`.
        commands: What the server knows.

    Returns:
        Names as the server writes them; `evalsha|<digest>` where only calls with this first argument are allowed.
    """
    found: set[str] = set()
    for word in words:
        members = _members(word, commands)
        if word in _NONE or word.startswith("-"):
            found = {one for one in found if one not in members and not _is_first(one, members, commands)}
        else:
            found = {one for one in found if not _is_first(one, members, commands)} | members
    return frozenset(found)


def _members(word: str, commands: Mapping[str, Known]) -> set[str]:
    """The commands that one rule is about."""
    if word in _ALL | _NONE:
        return set(commands)
    name = word[1:].lower()
    if name.startswith("@"):
        named = {known.name for known in commands.values() if name[1:] in known.categories}
    else:
        named = {name}
    inside = {known for known in commands if known.partition("|")[0] in named}
    return named | inside


def _is_first(one: str, members: set[str], commands: Mapping[str, Known]) -> bool:
    """Whether this is a call with a first argument, of a command that a rule is about as a whole."""
    return one not in commands and one.partition("|")[0] in members


def _grant(words: Sequence[str]) -> Grant:
    keys = tuple(
        "~*" if word == "allkeys" else word for word in words if word.startswith(("~", "%")) or word == "allkeys"
    )
    commands = tuple(word for word in words if word.startswith(("+", "-")) or word in _ALL | _NONE)
    known = {*keys, *commands, *_ACCOUNT, "allkeys", "resetkeys", ""}
    others = tuple(word for word in words if word not in known and not word.startswith(("#", "<", ">", "!")))
    return Grant(keys, commands, others)


def _text(word: Any) -> str:
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)
