"""Text with signatures under it, in the form that Go's checksum database and its relatives use.

Knows:     how a signed note is written, what makes one invalid, how keys are written, and two kinds of signature: Ed25519 of the text,
           and a witness' signature of the text and a time.
Called by: `journal.checkpoints`, `flows.witness` and `flows.audit`.
Never:     believes text that no known key signed; shows a private key in a `repr`; draws chance or asks the time.
Source:    https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature (version 1); golang.org/x/mod/sumdb/note writes private keys.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PLAIN = 1
"""Kind of a key whose signatures are of the text."""
WITNESS = 4
"""Kind of a key whose signatures are of a checkpoint and of the time when it was seen."""
SEED = 32
"""bytes of chance in a private key."""

_PUBLIC = 32
_SIGNATURE = 64
_TIME = 8
_MOST = 64
_DASH = "— "
_HEX = re.compile(r"[0-9a-f]{8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies the notes of one signer.

    Attributes:
        name: Of the signer; no space, no plus sign.
        kind: `PLAIN` or `WITNESS`.
        public: 32 bytes, RFC 8032.
    """

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """4 bytes that tell this key from others of the same name; not a secret, and not hard to imitate."""
        return sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_b64(bytes((self.kind,)) + self.public)}"

    @property
    def pem(self) -> str:
        """The key as openssl reads it: SubjectPublicKeyInfo (RFC 8410)."""
        der = bytes.fromhex("302a300506032b6570032100") + self.public
        return f"-----BEGIN PUBLIC KEY-----\n{_b64(der)}\n-----END PUBLIC KEY-----\n"


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """What signs notes.

    Attributes:
        name: Of the signer.
        kind: `PLAIN` or `WITNESS`.
        seed: 32 bytes.
    """

    name: str
    kind: int
    seed: bytes

    def __repr__(self) -> str:
        return f"PrivateKey({self.name!r}, ...)"

    @property
    def public(self) -> PublicKey:
        """The other half."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow to load

        key = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return PublicKey(self.name, self.kind, key.public_bytes_raw())

    @property
    def secret(self) -> str:
        """The key as it is kept in a file; whoever has it can sign."""
        return f"PRIVATE+KEY+{self.name}+{self.public.id.hex()}+{_b64(bytes((self.kind,)) + self.seed)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note; nothing in it is to be trusted.

    Attributes:
        name: Of the signer, as claimed.
        id: 4 bytes, of the key, as claimed.
        data: What the key made.
    """

    name: str
    id: bytes
    data: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {_b64(self.id + self.data)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Text and who claims to have signed it.

    Attributes:
        text: Ends in a line break.
        signatures: At least one.
    """

    text: str
    signatures: tuple[Signature, ...]

    @property
    def data(self) -> bytes:
        """The note as it is kept and sent."""
        return (self.text + "\n" + "".join(map(str, self.signatures))).encode()

    def by(self, key: PublicKey) -> bytes | None:
        """The signature that claims to be of this key."""
        return next((it.data for it in self.signatures if (it.name, it.id) == (key.name, key.id)), None)


def is_name(name: str) -> bool:
    """Whether a key may be called this."""
    return bool(name) and "+" not in name and not any(letter.isspace() or letter < " " for letter in name)


def parse_public(text: str) -> PublicKey | None:
    """Read `name+id+base64`; None if it is not a key that we can use."""
    name, _, rest = text.partition("+")
    hexadecimal, _, coded = rest.partition("+")
    data = _unb64(coded)
    if not (is_name(name) and _HEX.fullmatch(hexadecimal) and data and len(data) == 1 + _PUBLIC):
        return None
    key = PublicKey(name, data[0], data[1:])
    return key if key.kind in {PLAIN, WITNESS} and key.id.hex() == hexadecimal else None


def parse_private(text: str) -> PrivateKey | None:
    """Read what `PrivateKey.secret` wrote; None if it is not that."""
    match text.split("+", 4):
        case ["PRIVATE", "KEY", name, hexadecimal, coded]:
            data = _unb64(coded)
        case _:
            return None
    if not (is_name(name) and data and len(data) == 1 + SEED and data[0] in {PLAIN, WITNESS}):
        return None
    key = PrivateKey(name, data[0], data[1:])
    return key if key.public.id.hex() == hexadecimal else None


def parse_note(data: bytes) -> Note | str:
    """Read a note, strictly.

    Returns:
        The note, or why these bytes are not one.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "the note is not UTF-8"
    if any(letter < " " and letter != "\n" for letter in text):
        return "the note holds control characters"
    body, gap, below = text.rpartition("\n\n")
    if not gap or not below.endswith("\n"):
        return "the note has no signatures under a blank line"
    lines = below[:-1].split("\n")
    if len(lines) > _MOST:
        return f"the note has more than {_MOST} signatures"
    signatures = tuple(it for it in map(_parse_signature, lines) if it is not None)
    if len(signatures) != len(lines):
        return "a line under the note is not a signature"
    return Note(body + "\n", signatures)


def sign(text: str, key: PrivateKey, *, at_s: int = 0) -> Signature:
    """Sign a text.

    Args:
        text: Ends in a line break.
        key: Who signs.
        at_s: Seconds since 1970-01-01 UTC; only a `WITNESS` says when.

    Raises:
        ValueError: The text cannot be that of a note.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow to load

    if not text.endswith("\n") or any(letter < " " and letter != "\n" for letter in text):
        raise ValueError("a note is lines without control characters")
    time = at_s.to_bytes(_TIME, "big") if key.kind == WITNESS else b""
    made = Ed25519PrivateKey.from_private_bytes(key.seed).sign(_signed(text, time))
    return Signature(key.name, key.public.id, time + made)


def is_signed(note: Note, key: PublicKey) -> bool:
    """Whether this key signed this note."""
    made = note.by(key)
    length = _SIGNATURE + (_TIME if key.kind == WITNESS else 0)
    if made is None or len(made) != length:
        return False
    return _verifies(key.public, made[-_SIGNATURE:], _signed(note.text, made[:-_SIGNATURE]))


def signed_by(note: Note, keys: Iterable[PublicKey]) -> Sequence[PublicKey] | str:
    """Who of these signed a note.

    Returns:
        The keys; or why the note is to be rejected: a signature of one of them is wrong, or none of them signed.
    """
    claimed = [key for key in keys if note.by(key) is not None]
    wrong = next((key for key in claimed if not is_signed(note, key)), None)
    if wrong is not None:
        return f"the signature of {wrong.name} ({wrong.id.hex()}) is wrong"
    return claimed or "no key that we know signed it"


def _signed(text: str, time: bytes) -> bytes:
    """The bytes that a signature is of."""
    head = f"cosignature/v1\ntime {int.from_bytes(time, 'big')}\n" if time else ""
    return (head + text).encode()


def _verifies(public: bytes, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow to load

    try:
        _loaded(public).verify(signature, data)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _loaded(public: bytes) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - slow to load

    return Ed25519PublicKey.from_public_bytes(public)


def _parse_signature(line: str) -> Signature | None:
    if not line.startswith(_DASH):
        return None
    name, _, coded = line.removeprefix(_DASH).partition(" ")
    data = _unb64(coded)
    if not is_name(name) or data is None or len(data) < 5:
        return None
    return Signature(name, data[:4], data[4:])


def _b64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes | None:
    """Read base64 in its one form; None if it is not that."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if _b64(data) == text else None
