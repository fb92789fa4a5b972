"""Ed25519 signatures of manifests.

Knows:     how keys are written, so that openssl reads them, too, and that a signature is of the manifest's bytes and nothing else.
Called by: `flows.snapshot`, restore and the repository.
Never:     reads a file, shows a private key, or accepts another kind of key.
Source:    RFC 8032 (Ed25519), RFC 8410 (its keys in PKCS#8 and SubjectPublicKeyInfo). The same with openssl 3:
           `openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -sigfile F.manifest.sig -in snapshot/MANIFEST.json`.
"""

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from go_cache_safeguard.core.errors import ExitCode, Failure

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIZE = 64
"""bytes of a signature."""


class KeyBad(Failure):
    """A key file holds no key that we can use."""

    id = "key-bad"
    exit_code = ExitCode.USAGE
    meaning = "a key file holds no Ed25519 key, or the wrong half of one, or its key is locked with a password"


class KeyPair(NamedTuple):
    """Two files' contents.

    Attributes:
        private: PKCS#8 as PEM, not locked. Whoever has it can sign.
        public: SubjectPublicKeyInfo as PEM.
    """

    private: bytes
    public: bytes


def make_keys() -> KeyPair:
    """Draw a new pair."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow to load
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415 - heavy

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(private, _public_pem(key.public_key()))


def public_half(private: bytes) -> bytes:
    """The public key of a private one, as PEM.

    Raises:
        KeyBad: It is none.
    """
    return _public_pem(_private(private).public_key())


def sign(private: bytes, data: bytes) -> bytes:
    """Sign a manifest.

    Args:
        private: A private key as PEM.
        data: `Manifest.data`.

    Returns:
        `SIZE` bytes.

    Raises:
        KeyBad: It is none.
    """
    return _private(private).sign(data)


def is_signed(public: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the owner of this key signed exactly this.

    Args:
        public: A public key as PEM.
        data: `Manifest.data`.
        signature: What `sign` returned.

    Raises:
        KeyBad: It is no public key.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow to load

    key = _public(public)
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def fingerprint(public: bytes) -> str:
    """SHA-256 of a public key (its DER form), 64 hexadecimal digits: what two people can read to each other.

    Raises:
        KeyBad: It is no public key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - slow to load

    return sha256(_public(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _private(data: bytes) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow to load
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - heavy

    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise _bad(
            "the private key is locked with a password", "keep keys that a job uses in its secret store"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _bad(
            "the file holds no private key in PEM form", "make one with `go-cache-safeguard snapshot keygen -o KEY`"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad("the private key is not an Ed25519 key", "make one with `go-cache-safeguard snapshot keygen -o KEY`")
    return key


def _public(data: bytes) -> "Ed25519PublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - slow to load
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - heavy

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _bad("the file holds no public key in PEM form", "give the half that ends in .pub") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _bad("the public key is not an Ed25519 key", "give the half that ends in .pub")
    return key


def _public_pem(key: "Ed25519PublicKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - slow to load

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _bad(what: str, hint: str) -> KeyBad:
    return KeyBad(what, not_done="nothing was signed or compared", hint=hint)
