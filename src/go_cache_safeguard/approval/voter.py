"""Who decides: a person with roles, the way they came, and every name that an administrator says is theirs.

Knows:     what people may be let do, how a decision reaches us, and when a voter is somebody who is named elsewhere.
Called by: `approval.ballot`, and whoever lets people in: the command line, pages, API and Slack make voters.
Never:     takes "not known" for "somebody else"; asks the system or a database.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from go_cache_safeguard.core.person import same_person


class Role(StrEnum):
    """What a person is let do."""

    REQUESTER = "requester"
    APPROVER = "approver"
    AUDITOR = "auditor"


class Channel(StrEnum):
    """How a decision reached us."""

    TERMINAL = "terminal"
    TOKEN = "token"  # noqa: S105 - the name of a way, not a secret
    PAGE = "page"
    API = "api"
    SLACK = "slack"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Voter:
    """Somebody who decides.

    Attributes:
        principal: Who it is, for example `uid:1000(alice)`, `user:alice`, `oidc:id.example.org/realms/x#17`.
        roles: What they are let do.
        channel: How they came.
        also: Other principals of the same person, as an administrator linked them. `none` says that they have no account
            on this machine, `none@HOST` none on that one, `none@*` none on any, `none:user` that they are no user of
            `serve`; `uid:1000@*` is an account that is theirs on every host.
        tenant: Whose journal they may decide in; empty for this machine's own.
    """

    principal: str
    roles: frozenset[Role]
    channel: Channel
    also: tuple[str, ...] = ()
    tenant: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All principals of this person, the first one first."""
        return (self.principal, *self.also)


def one_person(one: str, other: str, also: Iterable[str] = ()) -> bool | None:
    """Whether a principal is that of a person.

    Args:
        one: A principal, for example of who asked.
        other: The person's principal.
        also: Others of the same person.

    Returns:
        None if it is not known, which is never the same as "no".
    """
    return same_person((one,), (other, *also))


def is_one_of(voter: Voter, principals: Iterable[str]) -> bool:
    """Whether a person is among those named, by any of their names."""
    return any(same_person(voter.names, (it,)) is True for it in principals)
