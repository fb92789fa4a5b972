"""Rules for a server's own access control list, so that nobody can go round the guard.

Knows:     which commands an application keeps, which keys of them, what the guard's user needs, and what else of a server is open.
Called by: `flows.redis_harden`.
Never:     gives an application a right that it has not now; names a command that the server does not know; touches a password.
Source:    ACL of Redis 6.2, 7.0 and Valkey 9.1. Denying DEL and the flushes alone leaves 16 other commands that remove a key.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.redis.acl import TRY, Grant, Known, User, held
from go_cache_safeguard.redis.commands import Class, Command, Rule, Table, Treatment
from go_cache_safeguard.redis.keyname import text_of
from go_cache_safeguard.redis.keyspace import EVERYTHING, Region, common, region_of, region_of_glob, without
from go_cache_safeguard.redis.rules import Rules

SELECTORS = (7, 0)
"""The first version with selectors, %R~ and denied subcommands; every Valkey has them."""
_OWN = [
    "acl|log",
    "acl|whoami",
    "auth",
    "client|id",
    "client|list",
    "client|setinfo",
    "client|setname",
    "cluster|slots",
    "command",
    "command|info",
    "config|get",
    "dbsize",
    "discard",
    "dump",
    "exec",
    "hello",
    "info",
    "memory|usage",
    "multi",
    "object|freq",
    "object|idletime",
    "pexpiretime",
    "ping",
    "pttl",
    "restore",
    "scan",
    "select",
    "time",
    "type",
    "unlink",
    "unwatch",
    "watch",
]
"""What the guard needs for its own work, whatever it executes."""
_TELLS_SECRETS = {"ACL GETUSER", "ACL LIST", "CONFIG GET"}
"""They only read, but what they tell (passwords, and hashes of them) opens the way round."""
_FLUSHED_BY_KEY = {"FLUSHDB", "FLUSHALL"}
"""The guard removes every key instead, so that it can be undone."""
_BASE_IS_A_CALL = {"command"}
_DERIVED = {Rule.SET, Rule.SETEX, Rule.MSETEX, Rule.RESTORE, Rule.STORE}
_CHANGES_KEYS = {Class.WRITE, Class.EXPIRES, Class.EMPTIES, Class.OVERWRITES, Class.REMOVES}
_TOGETHER = {Class.EXPIRES, Class.EMPTIES, Class.OVERWRITES, Class.REMOVES}


class Side(StrEnum):
    """What an application may do with a command."""

    FREE = "free"
    GUARDED = "guarded"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the rules depend on.

    Attributes:
        rules: The site's.
        table: All commands that we know.
        commands: What the server knows.
        version: The server's, as far as access control lists go; a Valkey counts as 7.2 or later.
        strict: Deny also what can remove or empty a whole key in one of its forms.
        retry: The client sends again what was approved, so its user needs the right to do it.
    """

    rules: Rules
    table: Table
    commands: Mapping[str, Known]
    version: tuple[int, int]
    strict: bool = False
    retry: bool = False

    @property
    def modern(self) -> bool:
        """Whether there are selectors and permissions for reading only."""
        return self.version >= SELECTORS

    def row(self, name: str) -> Command | None:
        """What the table says of a command that the server calls so."""
        return self.table.rows.get(name.upper().replace("|", " "))


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one user.

    Attributes:
        user: As it is now.
        words: For ACL SETUSER; never about passwords.
        lost: Commands that it may no longer do.
        gained: Commands that it may do now; only the guard's user gains any.
        limited: Commands that it may still do, with keys that may lose something only.
    """

    user: User
    words: tuple[str, ...]
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()


def side_of(name: str, terms: Terms) -> Side:
    """What an application may do with a command, or with `evalsha|<digest>`. What is not known is denied."""
    base, bar, first = name.partition("|")
    row = terms.row(name)
    if row is None:
        if bar and base == "evalsha" and first.lower() in terms.rules.scripts:
            return Side.GUARDED
        return side_of(base, terms) if bar and base.upper() not in terms.table.containers else Side.DENIED
    treatment = terms.rules.of_command(row)
    if terms.retry and treatment in {Treatment.CHECK, Treatment.HOLD}:
        return Side.FREE
    if terms.rules.overrides.get(row.name) is not Treatment.PASS and (
        row.cls is Class.SERVER or row.name in _TELLS_SECRETS or (terms.strict and can_remove(row))
    ):
        return Side.DENIED
    return {Treatment.PASS: Side.FREE, Treatment.PROTECT: Side.GUARDED}.get(treatment, Side.DENIED)


def can_remove(row: Command) -> bool:
    """Whether one form of a command removes or empties a whole key: a time that is over, the last element, an empty result."""
    match row.cls:
        case Class.EXPIRES:
            return row.rule is not Rule.ALWAYS
        case Class.OVERWRITES:
            return row.rule in _DERIVED or any(spec.mode == "RO" for spec in row.keys)
    return row.cls in {Class.EMPTIES, Class.REMOVES}


def half_open(terms: Terms) -> list[str]:
    """Commands that applications keep although one of their forms removes or empties a key."""
    return [
        name
        for name in sorted(terms.commands)
        if (row := terms.row(name)) is not None and can_remove(row) and side_of(name, terms) is not Side.DENIED
    ]


def denied_names(terms: Terms) -> list[str]:
    """Every command of the server that no application may do."""
    return sorted({name for name in _singles(frozenset(terms.commands), terms) if side_of(name, terms) is Side.DENIED})


def application(user: User, terms: Terms, really: frozenset[str] | None = None) -> Change | None:
    """Take from a user everything that the guard would not let through.

    Args:
        user: As it is now.
        terms: What the rules depend on.
        really: Commands that the server itself says the user may do; None if it cannot be asked.

    Returns:
        None if there is nothing to take away.
    """
    places = _Places(terms)
    kept = [_Kept(grant, terms, really) for grant in (user.root, *user.selectors)]
    grants = [one.grants(places) for one in kept]
    names = set(_union(one.names for one in kept))
    lost = tuple(name for name in _union(one.lost for one in kept) if name not in names)
    limited = _union(one.guarded for one, made in zip(kept, grants, strict=True) if len(made) > 1)
    if not lost and not limited and not any(one.open for one in kept):
        return None
    selectors = [grant for made in grants[1:] for grant in made[:1]] + [grant for made in grants for grant in made[1:]]
    after = replace(user, root=grants[0][0], selectors=tuple(selectors))
    clear = ("clearselectors",) if user.selectors and not after.selectors else ()
    return None if after.back == user.back else Change(user, (*clear, *after.back), lost=lost, limited=limited)


def _union(sets: Iterable[set[str]]) -> tuple[str, ...]:
    return tuple(sorted(set[str]().union(*sets)))


def serves_servers(user: User, terms: Terms) -> bool:
    """Whether this is a user of replicas or sentinels and of nobody else: it can follow a server, and not read a key."""
    can = held(user.root.commands, terms.commands)
    return bool(can & {"psync", "replicaof", "slaveof", "failover"}) and "get" not in can


def guard(user: User, terms: Terms) -> Change | None:
    """Give the guard's user what it needs for what it executes in the place of applications; None if it has all of it."""
    has = held(user.root.commands, terms.commands)
    opaque = _opaque(terms)
    missing = tuple(
        name
        for name in guard_names(terms)
        if name not in has and not ((base := name.partition("|")[0]) in has and base in opaque)
    )
    keys = () if {"~*", "allkeys"} & set(user.root.keys) else ("~*",)
    if not missing and not keys:
        return None
    return Change(user, (*keys, *(f"+{name}" for name in missing)), gained=missing)


def guard_names(terms: Terms) -> list[str]:
    """What the guard's user needs: its own work, and every command that changes the keys it names."""
    own = [name for name in _OWN if name in terms.commands or name.partition("|")[0] in _opaque(terms)]
    act = [
        name
        for name in terms.commands
        if (row := terms.row(name)) is not None
        and row.cls in _CHANGES_KEYS
        and row.keys
        and terms.rules.of_command(row) is not Treatment.REFUSE
    ]
    inside = [
        sub for name in _opaque(terms) for sub in _subs(name, terms) if (row := terms.row(sub)) and row.cls in _TOGETHER
    ]
    return sorted({*own, *act, *inside})


def not_executed(terms: Terms) -> list[str]:
    """Commands that a person may approve and the guard cannot execute itself: the client's own retry would need the right."""
    return [
        name
        for name in sorted(terms.commands)
        if (row := terms.row(name)) is not None
        and row.name not in _FLUSHED_BY_KEY
        and (row.cls not in _CHANGES_KEYS or not row.keys)
        and terms.rules.of_command(row) in {Treatment.CHECK, Treatment.HOLD}
    ]


def inexpressible(terms: Terms) -> list[str]:
    """Patterns of the site that an access control list cannot hold, and why."""
    texts = [pattern.text for pattern in (*terms.rules.protect, *terms.rules.allow)]
    if not terms.modern:
        more = [f"{name.decode('utf-8', 'backslashreplace')}:" for name in sorted(terms.rules.namespaces)]
        return [f"{text}: this server cannot let a user read a key and not write it" for text in (*texts, *more)]
    patterns = (*terms.rules.protect, *terms.rules.allow)
    wrong = [pattern.text for pattern in patterns if region_of(pattern.text) is None]
    return [f"{text}: is neither one key nor the beginning of keys" for text in wrong]


class _Places:
    """The keys that may lose something, as far as the site's patterns can be written as rules."""

    def __init__(self, terms: Terms) -> None:
        rules = terms.rules
        self.protected = [one for one in (region_of(pattern.text) for pattern in rules.protect) if one is not None]
        self.allowed = [EVERYTHING]
        allow = [region_of(pattern.text) for pattern in rules.allow]
        if allow and None not in allow:
            self.allowed = [one for one in allow if one is not None]
        if rules.namespaces:
            spaces = [Region(name + rules.separator) for name in sorted(rules.namespaces)]
            self.allowed = common(self.allowed, spaces)
        self.everywhere = not terms.modern or (not self.protected and self.allowed == [EVERYTHING])

    def keys(self, words: Sequence[str]) -> tuple[str, ...]:
        """Key rules of a user, without writing to what may not lose anything. What cannot be told apart stays as it is."""
        found: list[str] = []
        for word in words:
            mode, glob = _parted(word)
            region = region_of_glob(glob)
            pieces = (
                None if region is None else [without(one, self.protected) for one in common([region], self.allowed)]
            )
            globs = [one for piece in pieces or () for one in piece or ()]
            if "W" not in mode or pieces is None or None in pieces or (region is not None and globs == [region.glob]):
                found.append(word)
                continue
            head = "~" if mode == "RW" else f"%{mode}~"
            found += [f"{head}{one.decode('latin-1')}" for one in globs]
            found += [f"%R~{glob.decode('latin-1')}"] if "R" in mode else []
        return tuple(dict.fromkeys(found))


class _Kept:
    """What an application keeps of one grant."""

    def __init__(self, grant: Grant, terms: Terms, really: frozenset[str] | None) -> None:
        had = held(grant.commands, terms.commands)
        if really is not None:
            had = frozenset(name for name in had if name in really or name not in terms.commands)
        single = list(_singles(had, terms))
        self.free = {name for name in single if side_of(name, terms) is Side.FREE}
        self.guarded = {name for name in single if side_of(name, terms) is Side.GUARDED}
        self.lost = {name for name in single if side_of(name, terms) is Side.DENIED}
        self.names = self.free | self.guarded
        self.open = bool({"+@all", "allcommands"} & set(grant.commands))
        self._grant = grant
        subs = {name: {one for one in terms.commands if one.startswith(f"{name}|")} for name in _BASE_IS_A_CALL & had}
        self._base = {name for name, inside in subs.items() if inside <= had and not inside & self.lost}

    def unclear(self, places: _Places) -> list[str]:
        """Key rules that may take in protected keys, and cannot be told apart from them. Those that we made are clear."""
        if places.everywhere or not self.guarded:
            return []
        made = {one for word in self._grant.keys if word.startswith("%R~") for one in places.keys((word[2:],))}
        return [
            word
            for word in self._grant.keys
            if word not in made and "W" in _parted(word)[0] and region_of_glob(_parted(word)[1]) is None
        ]

    def grants(self, places: _Places) -> list[Grant]:
        """One, or one for all keys and one for those that may lose something."""
        if places.everywhere or not self.guarded:
            return [replace(self._grant, commands=self._words(self.names))]
        keys = places.keys(self._grant.keys)
        if keys == self._grant.keys:
            return [replace(self._grant, commands=self._words(self.names))]
        limited = replace(self._grant, keys=keys, commands=self._words(self.guarded, base=False))
        return [replace(self._grant, commands=self._words(self.free)), limited]

    def _words(self, names: set[str], *, base: bool = True) -> tuple[str, ...]:
        whole = self._base if base else set[str]()
        single = {name for name in names if name.partition("|")[0] not in whole}
        return ("-@all", *(f"+{name}" for name in sorted(single | whole)))


def _singles(had: frozenset[str], terms: Terms) -> Iterator[str]:
    """Commands without those that only have subcommands; with the subcommands where the server tells of none."""
    for name in had:
        if name in _opaque(terms):
            yield from _subs(name, terms)
        elif name not in terms.commands or not terms.commands[name].container:
            yield name
        if name == "evalsha":
            yield from (f"evalsha|{digest}" for digest in terms.rules.scripts)


def _opaque(terms: Terms) -> list[str]:
    """Containers of which the server does not tell the subcommands."""
    return [
        name for name, known in terms.commands.items() if name.upper() in terms.table.containers and not known.container
    ]


def _subs(name: str, terms: Terms) -> list[str]:
    """Subcommands that a server of this version has, as the table tells."""
    head = f"{name.upper()} "
    rows = [row for row in terms.table if row.name.startswith(head) and _is_of(row.since, terms.version)]
    return [row.name.lower().replace(" ", "|") for row in rows]


def _is_of(since: str, version: tuple[int, int]) -> bool:
    parts = [int(part) for part in since.split(".")[:2] if part.isdecimal()]
    return len(parts) == 2 and (parts[0], parts[1]) <= version


def _parted(word: str) -> tuple[str, bytes]:
    """`RW`, `R` or `W`, and the pattern."""
    head, _, glob = word.partition("~")
    return (head.strip("%").upper() or "RW"), glob.encode("latin-1")


# What else is open.


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a server's doors.

    Attributes:
        users: All accounts; None if they cannot be read.
        settings: From name to value; None for what cannot be read, no entry for what the server does not know.
        guard: The name of the guard's user.
        trusted: Users that may do everything: the guard, and those who look after the server.
        servers: Users as whom replicas and sentinels are logged in; None if connections cannot be read.
        chosen: Users whose rules would change.
    """

    users: Sequence[User] | None
    settings: Mapping[str, str | None]
    guard: str
    trusted: frozenset[str]
    servers: frozenset[str] | None = frozenset()
    chosen: frozenset[str] = frozenset()


def findings(look: Look, terms: Terms) -> list[Verdict]:
    """What stands open, each with a remedy; what cannot be read is UNKNOWN."""
    return [
        *_users(look),
        *_servers(look),
        *_own_patterns(look, terms),
        *_guard(look, terms),
        *_settings(look),
        *_patterns(terms),
    ]


def _users(look: Look) -> Iterator[Verdict]:
    if look.users is None:
        yield Verdict(
            "users", Outcome.UNKNOWN, "the users of this server cannot be read", (), ("ask as a user with +acl|list",)
        )
        return
    for user in look.users:
        if not user.on:
            continue
        name = text_of(user.name.encode("latin-1"))
        if name.startswith(TRY):
            text = f"user {name} is left over from a proof that was killed; nobody knows its password"
            yield Verdict("left-over", Outcome.WARN, text, (), (f"ACL DELUSER {name}",))
            continue
        everything = "+@all" in user.root.commands
        if user.nopass:
            what = "do everything" if everything else "do what it may"
            remedy = (
                "make a user for each application, then `ACL SETUSER default off`"
                if user.name == "default"
                else f"ACL SETUSER {name} resetpass >PASSWORD"
            )
            yield Verdict(
                "no-password", Outcome.BLOCK, f"whoever reaches the port is user {name}, and can {what}", (), (remedy,)
            )
        if everything and user.name not in look.trusted:
            yield Verdict(
                "all-commands",
                Outcome.BLOCK,
                f"user {name} can do everything{'' if user.root.commands == ('+@all',) else ' that is not taken away by name'}",
                (),
                (f"go-cache-safeguard redis harden --user {name} --apply",),
            )


def _servers(look: Look) -> Iterator[Verdict]:
    if look.servers is None:
        remedy = ("ask as a user with +client|list",)
        yield Verdict("replication", Outcome.UNKNOWN, "who replicas log in as cannot be read", (), remedy)
        return
    for name in sorted(look.servers & look.chosen):
        shown = text_of(name.encode("latin-1"))
        yield Verdict(
            "replication",
            Outcome.BLOCK,
            f"replicas or sentinels are logged in as user {shown}, which would lose what they need",
            (),
            (
                f"give them a user of their own (masteruser, sentinel auth-user), or leave {shown} alone with --admin {shown}",
            ),
        )


def _own_patterns(look: Look, terms: Terms) -> Iterator[Verdict]:
    places = _Places(terms)
    for user in look.users or ():
        grants = (user.root, *user.selectors) if user.name in look.chosen else ()
        wrong = [word for grant in grants for word in _Kept(grant, terms, None).unclear(places)]
        if wrong:
            name = text_of(user.name.encode("latin-1"))
            yield Verdict(
                "own-patterns",
                Outcome.BLOCK,
                f"key patterns of user {name} may take in keys that nothing may be lost of, and cannot be told apart from them",
                tuple(text_of(word.encode("latin-1")) for word in wrong[:20]),
                (
                    f"give {name} patterns that are one key or the beginning of keys, or leave it alone with --admin {name}",
                ),
            )


def _guard(look: Look, terms: Terms) -> Iterator[Verdict]:
    if look.users is None:
        return
    name = text_of(look.guard.encode("latin-1"))
    user = next((one for one in look.users if one.name == look.guard), None)
    if user is None or not user.on:
        what = "there is no user" if user is None else "nobody can log in as user"
        words = " ".join(f"+{one}" for one in guard_names(terms))
        yield Verdict(
            "guard-user",
            Outcome.BLOCK,
            f"{what} {name} for the guard",
            (),
            (f"ACL SETUSER {name} on >PASSWORD ~* -@all {words}",),
        )
        return
    change = guard(user, terms)
    if change is not None:
        yield Verdict(
            "guard-user",
            Outcome.WARN,
            f"user {name} cannot do everything that the guard executes",
            (" ".join(change.words),),
            ("--apply gives it these rights",),
        )


def _settings(look: Look) -> Iterator[Verdict]:
    for key, wrong, why, remedy in _DOORS:
        if key not in look.settings:
            continue
        value = look.settings[key]
        if value is None:
            yield Verdict(key, Outcome.UNKNOWN, f"{key} cannot be read", (), ("ask as a user with +config|get",))
        elif (value == "") if wrong == "" else value.lower() in wrong.split():
            yield Verdict(key, Outcome.WARN, f"{key} is {value or 'not set'}: {why}", (), (remedy,))


_DOORS = (
    (
        "protected-mode",
        "no",
        "a default user without a password can be reached from other machines",
        "CONFIG SET protected-mode yes",
    ),
    (
        "requirepass",
        "",
        "the default user needs no password unless it is off",
        "`ACL SETUSER default off`, or give it a password",
    ),
    (
        "enable-debug-command",
        "yes local",
        "DEBUG can stop, fill and empty the server",
        "`enable-debug-command no` in the server's configuration file",
    ),
    (
        "enable-module-command",
        "yes local",
        "MODULE LOAD runs any code in the server",
        "`enable-module-command no` in the server's configuration file",
    ),
    (
        "aclfile",
        "",
        "ACL SAVE has no file, so only CONFIG REWRITE makes the rules outlive a restart",
        "`aclfile /path/users.acl` in the server's configuration file",
    ),
)
"""Setting, words that are wrong (nothing: an empty value is), why, and what to do."""


def _patterns(terms: Terms) -> Iterator[Verdict]:
    wrong = inexpressible(terms)
    if wrong:
        yield Verdict(
            "patterns",
            Outcome.WARN,
            "some keys that nothing may be lost of are not guarded by the server itself",
            tuple(wrong[:20]),
            ("write them as beginnings such as session:*, or use --strict",),
        )


def no_lists(version: str) -> Verdict:
    """A server before Redis 6."""
    return Verdict(
        "users",
        Outcome.BLOCK,
        f"this server ({version or 'of a version that it does not tell'}) has no access control lists: everybody may do everything",
        (),
        ("use Redis 6.2 or later, or Valkey; until then let nobody but the proxy reach it",),
    )


def aclfile(changes: Sequence[Change]) -> str:
    """Lines for an ACL file, and for ACL SETUSER; without passwords."""
    lines = []
    for change in changes:
        account = "on" if change.user.on else "off"
        words = change.words if "-@all" in change.words else (*change.user.back, *change.words)
        at = words.index("-@all")
        words = (*words[:at], *change.user.root.others, *words[at:])
        lines.append(f"user {change.user.name} {account} {' '.join(words)}")
    return "".join(f"{line}\n" for line in lines)
