"""Administering people and API tokens: who may come in, as what, and with which secret.

Knows:     that every change is written into the journal of its tenant before it is made.
Called by: the command line's `serve people` and `serve token`; nothing else can change who may come in.
Never:     shows or writes down a password, a code's secret or a token, except the token and the code's secret once to who made it.
"""

import secrets
import time
from collections.abc import Callable, Collection, Mapping

import pyotp

from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.canonical import Value
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.web.password import hasher, plain
from go_cache_safeguard.web.people import ApiToken, NoSuchPerson, People, Person, hashed
from go_cache_safeguard.web.site import PREFIX, Scope

LEAST = 12
"""Characters of a password."""
MOST_S = 366 * 86_400
"""For how long an API token may count, in seconds."""


class WeakPassword(Failure):
    """A password that is not taken."""

    id = "weak-password"
    exit_code = ExitCode.USAGE
    meaning = "the password is too short, or the person's name"


class Office:
    """Changes to the people of one tenant."""

    def __init__(
        self, people: People, tenant: str, *, config: Config, note: Callable[[str, Mapping[str, Value]], None]
    ) -> None:
        """Open it.

        Args:
            people: All of them.
            tenant: Whose people are changed.
            config: What passwords cost.
            note: Writes a note into the tenant's journal.
        """
        self._people = people
        self._tenant = tenant
        self._config = config
        self._note = note

    def everybody(self) -> list[Person]:
        """All people, by name."""
        return self._people.everybody(self._tenant)

    def tokens(self) -> list[ApiToken]:
        """All tokens, oldest first."""
        return self._people.tokens(self._tenant)

    def add(self, name: str, roles: Collection[Role]) -> None:
        """Let somebody in; without a password or a link they cannot come yet.

        Raises:
            NameTaken: There is somebody of this name, or it is none.
        """
        self._people.check_new(self._tenant, name)
        self._note("person-added", {"person": name, "roles": sorted(roles)})
        self._people.add(self._tenant, name, frozenset(roles), int(time.time()))

    def give_roles(self, name: str, roles: Collection[Role]) -> None:
        """Have somebody hold these roles and no others. Their sessions end.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        before = self._there(name)
        self._note("person-roles", {"person": name, "roles": sorted(roles), "before": sorted(before.roles)})
        self._people.change(self._tenant, name, roles=frozenset(roles))

    def admit(self, name: str, *, active: bool) -> None:
        """Let somebody in again, or no more: then their sessions end, and their tokens count no more.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        self._there(name)
        self._note("person-enabled" if active else "person-disabled", {"person": name})
        self._people.change(self._tenant, name, active=active)

    def link(self, name: str, principal: str) -> None:
        """Say that a principal is somebody's.

        Raises:
            NoSuchPerson: There is nobody of this name.
            NameTaken: It is somebody else's, or is no principal.
        """
        self._people.check_link(self._tenant, name, principal)
        self._note("person-linked", {"person": name, "principal": principal})
        self._people.link(self._tenant, name, principal)

    def disown(self, name: str, principal: str) -> None:
        """Take a principal away from somebody. Their sessions end.

        Raises:
            NoSuchPerson: They have no such principal.
        """
        if principal not in self._there(name).links:
            raise NoSuchPerson(f"{principal} is not linked to {name}", not_done="nothing was changed")
        self._note("person-unlinked", {"person": name, "principal": principal})
        self._people.disown(self._tenant, name, principal)

    def set_password(self, name: str, password: str) -> None:
        """Give somebody a password. Their sessions end.

        Raises:
            NoSuchPerson: There is nobody of this name.
            WeakPassword: It is too short.
        """
        self._there(name)
        if len(password) < LEAST or password.lower() == name:
            raise WeakPassword(
                f"a password has at least {LEAST} characters and is not the name",
                not_done="nothing was changed",
                hint="several words are good, and easy to remember",
            )
        self._note("person-password", {"person": name})
        self._people.change(self._tenant, name, password=hasher(self._config).hash(plain(password)))

    def new_code(self, name: str, keep: Callable[[str], None]) -> None:
        """Ask for a code of a device, from now on.

        Args:
            name: Whom.
            keep: Takes what the device is told, as a URL that it reads: a secret.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        self._there(name)
        secret = pyotp.random_base32()
        keep(pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="go-cache-safeguard"))
        self._note("person-totp", {"person": name, "on": True})
        self._people.change(self._tenant, name, totp=secret, totp_step=0)

    def no_code(self, name: str) -> None:
        """Ask for no code any more.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        self._there(name)
        self._note("person-totp", {"person": name, "on": False})
        self._people.change(self._tenant, name, totp=None)

    def mint(self, name: str, scopes: Collection[Scope], lifetime_s: int, keep: Callable[[str], None]) -> ApiToken:
        """Mint a token with which a program may do what its person may, as far as its scopes go.

        Args:
            name: Whose.
            scopes: What it is good for, at most.
            lifetime_s: How long it counts, in seconds.
            keep: Takes the token itself, which is not kept here.

        Raises:
            NoSuchPerson: There is nobody of this name.
        """
        self._there(name)
        now = int(time.time())
        words = frozenset(map(str, scopes))
        token = ApiToken(f"tok-{secrets.token_hex(6)}", name, words, now, now + min(lifetime_s, MOST_S))
        secret = PREFIX + secrets.token_urlsafe(32)
        keep(secret)
        data: dict[str, Value] = {"id": token.id, "person": name, "scopes": sorted(words), "expires_s": token.expires_s}
        self._note("api-token-minted", data)
        self._people.mint(self._tenant, token, hashed(secret))
        return token

    def revoke(self, identity: str) -> None:
        """End a token.

        Raises:
            NoSuchPerson: There is none of this id.
        """
        if identity not in {token.id for token in self.tokens()}:
            raise NoSuchPerson(f"there is no token {identity}", not_done="nothing was changed")
        self._note("api-token-revoked", {"id": identity})
        self._people.revoke(self._tenant, identity)

    def _there(self, name: str) -> Person:
        found = self._people.person(self._tenant, name)
        if found is None:
            raise NoSuchPerson(f"there is nobody called {name}", not_done="nothing was changed")
        return found
