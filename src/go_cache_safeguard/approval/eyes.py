"""Who is who on this machine, and whether one of them may approve what another asked for.

Knows:     principals such as `uid:1000(alice)`, which of them are one person, and the rule of two pairs of eyes.
Called by: `flows`, when somebody asks and when somebody approves.
Never:     asks the system: numbers, names and the account file are told. Never takes "not known" for "allowed".
Source:    proc_pid_loginuid(5): 4294967295 means that nobody logged in; sudo(8): SUDO_UID; passwd(5), login.defs(5):
           UID_MIN 1000 and UID_MAX 60000, of which 60000 and above belong to systemd (systemd, UIDS-GIDS.md).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

NO_LOGIN = 4_294_967_295
"""What the kernel says for a process that no login started: (uid_t) -1. It is nobody's number."""

PEOPLE = range(1000, 60_000)
"""The numbers that accounts of people get."""

_PERSON = re.compile(r"uid:(?P<uid>\d{1,10})(?:\((?P<name>[^()]*)\))?", re.ASCII)
_NO_SHELL = frozenset({"nologin", "false"})


class SelfApproval(StrEnum):
    """Whether somebody may approve what they asked for themselves."""

    NEVER = "never"
    SINGLE_USER = "single-user"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Allowed:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Denied:
    """No.

    Attributes:
        reason: One clause for a person.
        hint: What to do next; empty when there is nothing to advise.
    """

    reason: str
    hint: str = ""


Answer: TypeAlias = Allowed | Denied


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account. Only the number counts: names can be changed, and look alike.

    Attributes:
        uid: 0 to 4294967294.
        name: As the account file has it; empty if it has none.
    """

    uid: int
    name: str = ""

    def __str__(self) -> str:
        return f"uid:{self.uid}({self.name})" if self.name else f"uid:{self.uid}"


def parse_person(text: str) -> Person | None:
    """Read a principal; None if the text is not one.

    Compatibility forms and case are folded first (NFKC), so that no two spellings of one number are two people.
    """
    match = _PERSON.fullmatch(unicodedata.normalize("NFKC", text).casefold().strip())
    if match is None or int(match["uid"]) >= NO_LOGIN:
        return None
    return Person(int(match["uid"]), match["name"] or "")


def principal(ruid: int, loginuid: int | None, sudo_uid: str | None, names: Mapping[int, str]) -> str:
    """Name the person behind this process, who stays the same through `su` and `sudo`.

    Args:
        ruid: The real user id.
        loginuid: What the kernel says who logged in; None if it does not say.
        sudo_uid: The variable SUDO_UID. Believed only for root: anybody else may set it.
        names: Account names by user id.
    """
    uid = ruid
    if loginuid is not None and loginuid != NO_LOGIN:
        uid = loginuid
    elif ruid == 0 and sudo_uid is not None:
        behind = parse_person(f"uid:{sudo_uid}")
        uid = behind.uid if behind else ruid
    name = names.get(uid, "")
    return str(Person(uid, name if name.isprintable() and not set("()") & set(name) else ""))


def may_approve(requester: str, approver: str, *, rule: SelfApproval, accounts: Sequence[str]) -> Answer:
    """Judge whether one person may approve what another asked for.

    Args:
        requester: Principal of who asked.
        approver: Principal of who wants to approve.
        rule: What holds if both are one person.
        accounts: Principals of all login accounts of this machine; empty if they are not known.
    """
    asked, agrees = parse_person(requester), parse_person(approver)
    if asked is None:
        return Denied("who asked for it is not known")
    if agrees is None:
        return Denied("who approves it is not known")
    if asked.uid != agrees.uid:
        return Allowed()
    match rule:
        case SelfApproval.NEVER:
            return Denied(f"{approver} asked for it; somebody else must approve")
        case SelfApproval.SINGLE_USER:
            return _alone(asked, accounts)
        case SelfApproval.ALWAYS:
            return Allowed()
        case _:
            assert_never(rule)


def login_accounts(passwd: bytes) -> tuple[str, ...]:
    """Find who can log in: root and people, each with a shell that is one.

    Args:
        passwd: The content of /etc/passwd. Lines that are not accounts are skipped.

    Returns:
        Principals, sorted by number, each number once.
    """
    found: dict[int, Person] = {}
    for line in passwd.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) != 7 or not (fields[2].isascii() and fields[2].isdigit()):
            continue
        uid, shell = int(fields[2]), fields[6].rpartition("/")[2]
        if (uid == 0 or uid in PEOPLE) and shell not in _NO_SHELL:
            found.setdefault(uid, Person(uid, fields[0]))
    return tuple(str(found[uid]) for uid in sorted(found))


def _alone(person: Person, accounts: Sequence[str]) -> Answer:
    """Root is no second person: nobody else can become root here. But root itself answers to every other account."""
    people = [parse_person(account) for account in accounts]
    if not any(other is not None and other.uid == person.uid for other in people):
        return Denied("which accounts this machine has is not known, so somebody else must approve")
    if all(other is not None and other.uid in {person.uid, 0} for other in people):
        return Allowed()
    return Denied("this machine has other login accounts, so somebody else must approve")
