"""Signatures: ours are openssl's, and whatever is no Ed25519 key is refused."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from go_cache_safeguard.snapshot.signature import (
    SIZE,
    KeyBad,
    fingerprint,
    is_signed,
    make_keys,
    public_half,
    sign,
)


def test_what_was_signed_is_recognised_and_nothing_else() -> None:
    mine, other = make_keys(), make_keys()
    signature = sign(mine.private, b"manifest")
    assert len(signature) == SIZE
    assert is_signed(mine.public, b"manifest", signature)
    assert not is_signed(mine.public, b"manifest!", signature)
    assert not is_signed(mine.public, b"manifest", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not is_signed(mine.public, b"manifest", signature[:-1])
    assert not is_signed(mine.public, b"manifest", b"")
    assert not is_signed(other.public, b"manifest", signature)


def test_the_same_key_signs_the_same_bytes_in_the_same_way() -> None:
    key = make_keys().private
    assert sign(key, b"x") == sign(key, b"x")


def test_the_public_half_belongs_to_the_private_one() -> None:
    pair = make_keys()
    assert public_half(pair.private) == pair.public
    assert len(fingerprint(pair.public)) == 64
    assert fingerprint(pair.public) != fingerprint(make_keys().public)


def _openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def test_openssl_checks_our_signature_and_we_check_openssls(tmp_path: Path) -> None:
    pair = make_keys()
    (tmp_path / "pub").write_bytes(pair.public)
    (tmp_path / "data").write_bytes(b"manifest")
    (tmp_path / "sig").write_bytes(sign(pair.private, b"manifest"))
    said = _openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "pub", "-rawin"),
        *("-sigfile", tmp_path / "sig", "-in", tmp_path / "data"),
    )
    assert "Signature Verified Successfully" in said
    _openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "theirs")
    theirs = (tmp_path / "theirs").read_bytes()
    assert is_signed(public_half(theirs), b"manifest", sign(theirs, b"manifest"))
    der = _openssl("pkey", "-in", tmp_path / "theirs", "-pubout", "-outform", "DER", "-out", tmp_path / "der")
    assert der == ""
    assert fingerprint(public_half(theirs)) in _openssl("dgst", "-sha256", tmp_path / "der")


def test_what_is_no_key_of_ours_is_refused_with_a_reason() -> None:
    pair = make_keys()
    curve = ec.generate_private_key(ec.SECP256R1())
    cases = {
        "locked with a password": ed25519.Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
        "no private key": pair.public,
        "not an Ed25519": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    for why, key in {**cases, "no private key in PEM form": b"-----BEGIN PRIVATE KEY-----\n"}.items():
        with pytest.raises(KeyBad, match=why):
            sign(key, b"x")
    public = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for why, key in {"no public key": pair.private, "not an Ed25519": public, "in PEM form": b""}.items():
        with pytest.raises(KeyBad, match=why):
            is_signed(key, b"x", bytes(64))
