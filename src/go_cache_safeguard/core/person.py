"""People and their accounts: the forms of principals, and which of them are one person.

Knows:     how an account of this machine, of a fleet's host, of `serve` and of an identity provider is written, and how two
           spellings become one.
Called by: `approval.voter` when somebody decides, `journal.law` when somebody judges that later.
Never:     takes "not known" for "somebody else"; asks the system or a database; trusts a name beside a number.
Source:    OpenID Connect Core 1.0 section 2 (issuer and subject together name a person for ever, a mail address does not).
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_ACCOUNT = re.compile(r"uid:(?P<uid>[0-9]{1,10})(?:\([^()@]*\))?(?:@(?P<host>[^@#\s]+))?", re.ASCII)
_USER = re.compile(r"user:(?P<id>[^@#\s:]+(?:@[^@#\s:]+)?)")
_SUBJECT = re.compile(r"oidc:(?P<issuer>[^#\s]+)#(?P<id>\S+)")
_CHAT = re.compile(r"slack:(?P<team>[a-z0-9]{2,32})/(?P<id>[a-z0-9]{2,32})", re.ASCII)
_NONE = re.compile(r"none(?:@(?P<host>[^@#\s]+)|:(?P<realm>\S+))?")
_NO_LOGIN = 4_294_967_295
_MACHINE = "uid"
_EVERYWHERE = "uid@*"


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal in its one spelling.

    Attributes:
        realm: Where the id counts: `uid`, `uid@HOST`, `user`, `oidc:ISSUER`, `slack:TEAM`. In one realm two ids are two accounts.
        id: Empty if it says that there is no account in the realm.
    """

    realm: str
    id: str


def parse_identity(principal: str) -> Identity | None:
    """Read a principal; None if the text is not one.

    Compatibility forms and case are folded (NFKC, casefold), so that no two spellings of one name are two people; where
    a provider tells two people apart by case alone, they count as one.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", principal).casefold()).strip()
    if not text.isprintable():
        return None
    if match := _ACCOUNT.fullmatch(text):
        uid = int(match["uid"])
        return Identity(_on(match["host"]), str(uid)) if uid < _NO_LOGIN else None
    if match := _USER.fullmatch(text):
        return Identity("user", match["id"])
    if match := _SUBJECT.fullmatch(text):
        return Identity(f"oidc:{match['issuer'].rstrip('/')}", match["id"])
    if match := _CHAT.fullmatch(text):
        return Identity(f"slack:{match['team']}", match["id"])
    if match := _NONE.fullmatch(text):
        return Identity(match["realm"] or _on(match["host"]), "")
    return None


def same_person(ones: Iterable[str], others: Iterable[str]) -> bool | None:
    """Whether two sets of principals belong to one person.

    Args:
        ones: All known principals of the one.
        others: All known principals of the other.

    Returns:
        None if that is not known: they have no realm in common in which both are known, or something cannot be read.
    """
    mine, theirs = [parse_identity(it) for it in ones], [parse_identity(it) for it in others]
    pairs = [(one, other) for one in mine for other in theirs if one and other and _meet(one.realm, other.realm)]
    if any(one.id and one.id == other.id for one, other in pairs):
        return True
    if None in mine or None in theirs:
        return None
    return False if any(one.id or other.id for one, other in pairs) else None


def _on(host: str | None) -> str:
    return f"{_MACHINE}@{host.rstrip('.')}" if host else _MACHINE


def _meet(one: str, other: str) -> bool:
    """Whether two realms are one; what is said of all hosts is said of each."""
    return one == other or (_EVERYWHERE in {one, other} and one.startswith("uid@") and other.startswith("uid@"))
