"""A secret that stands for one decision, and the digest that a person types.

Knows:     the form of a token, what is stored of it, what it is bound to, and when it counts.
Called by: `flows`, when an approval is asked for from somebody who is not at the terminal, and when it comes back.
Never:     draws chance or asks the time (both are told); shows a token in a `repr`; says whether it was used before:
           that is the journal's work, inside one transaction.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256

from go_cache_safeguard.approval.eyes import Allowed, Answer, Denied
from go_cache_safeguard.core.person import same_person

PREFIX = "gcs1_"
"""So that a scanner for leaked secrets can find a token. The digit is the format."""

CHANCE = 32
"""bytes of chance in a token: 256 bits."""

_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{42}}[AEIMQUYcgkosw048]", re.ASCII)  # the last digit carries 4 bits
_TYPED = re.compile(r"[0-9a-fA-F]{8,64}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token, wrapped so that logs and tracebacks do not show it.

    Attributes:
        text: `gcs1_` and 43 digits of base64url. Shown once, to one person, and never stored.
    """

    text: str

    def __repr__(self) -> str:
        return f"Token({PREFIX}...)"

    @property
    def stored(self) -> str:
        """What may be kept: SHA-256 of the text, 64 hexadecimal digits. Chance of 256 bits needs no salt."""
        return sha256(self.text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token was given out for.

    Attributes:
        op: The operation.
        digest: Of the plan that was shown, 64 hexadecimal digits.
        approver: Principal of the person it was given to.
        expires_at: Seconds since 1970-01-01 UTC; from then on it counts no more.
    """

    op: str
    digest: str
    approver: str
    expires_at: int


def mint(chance: bytes) -> tuple[Token, str]:
    """Make a token.

    Args:
        chance: 32 bytes from a source fit for secrets.

    Returns:
        The token, and what to store of it.

    Raises:
        ValueError: Not 32 bytes.
    """
    if len(chance) != CHANCE:
        raise ValueError(f"a token needs {CHANCE} bytes of chance")
    token = Token(PREFIX + urlsafe_b64encode(chance).rstrip(b"=").decode("ascii"))
    return token, token.stored


def parse_token(text: str) -> Token | None:
    """Read what a person pasted; None if it is not a token. Space around it is forgiven."""
    bare = text.strip()
    return Token(bare) if _TOKEN.fullmatch(bare) else None


def check_grant(grant: Grant, token: Token, *, stored: str, op: str, digest: str, approver: str, now: float) -> Answer:
    """Judge whether a token approves this plan now. Whether it was used before, the journal says.

    Args:
        grant: What was written down when the token was made.
        token: What came back.
        stored: What was kept of the token.
        op: The operation to approve.
        digest: Of its plan as it is now.
        approver: Principal of who brings the token.
        now: Seconds since 1970-01-01 UTC.
    """
    if not _same(token.stored, stored):
        return Denied("this is not the token that was given out for it")
    if grant.op != op:
        return Denied("the token was given out for another operation")
    if not _same(grant.digest, digest):
        return Denied("the plan is not the one that the token was given out for")
    if same_person((grant.approver,), (approver,)) is not True:
        return Denied("the token was given to somebody else")
    if not now < grant.expires_at:
        return Denied("the token has expired")
    return Allowed()


def digest_matches(typed: str, digest: str) -> bool:
    """Whether what a person typed names this plan: 8 or more of the first digits of its digest, in either case.

    Args:
        typed: As typed; space around it is forgiven.
        digest: 64 hexadecimal digits.
    """
    bare = typed.strip()
    if not _TYPED.fullmatch(bare) or not _DIGEST.fullmatch(digest):
        return False
    return hmac.compare_digest(bare.lower(), digest[: len(bare)])


def _same(one: str, other: str) -> bool:
    """Compare two digests in a time that does not tell where they differ; what is no digest equals nothing."""
    known = _DIGEST.fullmatch(one) is not None and _DIGEST.fullmatch(other) is not None
    return known and hmac.compare_digest(one, other)
