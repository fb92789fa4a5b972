"""Signed notes, against notes and keys that others made."""

import re
from pathlib import Path

import pytest

from go_cache_safeguard.journal.note import (
    PLAIN,
    WITNESS,
    Note,
    PrivateKey,
    is_name,
    is_signed,
    parse_note,
    parse_private,
    parse_public,
    sign,
    signed_by,
)
from gocaches import PINNED, find_toolchain

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_SIGNS = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_SIGNS = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
BOTH = (TEXT + "\n" + PETER_SIGNS + ENOCH_SIGNS).encode()
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
MODFETCH = ("src", "cmd", "go", "internal", "modfetch", "key.go")


def note_of(data: bytes) -> Note:
    note = parse_note(data)
    assert isinstance(note, Note)
    return note


@pytest.mark.parametrize("text", [PETER, ENOCH, EXAMPLE_KEY])
def test_keys_that_others_made_are_read_and_written_alike(text: str) -> None:
    key = parse_public(text)
    assert key is not None
    assert str(key) == text


def test_the_key_of_the_checksum_database_that_go_has_is_a_key() -> None:
    go = find_toolchain(PINNED[-1]).go.parents[1]
    (text,) = re.findall(r'"([^"]+\+[0-9a-f]{8}\+[^"]+)"', Path(go, *MODFETCH).read_text(encoding="utf-8"))
    key = parse_public(text)
    assert key is not None
    assert (str(key), key.kind) == (text, PLAIN)


def test_a_note_that_go_signed_is_signed_here_alike() -> None:
    key = parse_private(PETER_SIGNER)
    assert key is not None
    assert str(key.public) == PETER
    assert key.secret == PETER_SIGNER
    assert str(sign(TEXT, key)) == PETER_SIGNS
    enoch = PrivateKey("EnochRoot", PLAIN, bytes(32))
    assert str(enoch.public) == ENOCH
    assert str(sign(TEXT, enoch)) == ENOCH_SIGNS


def test_notes_that_others_signed_verify() -> None:
    for data, text in ((EXAMPLE, EXAMPLE_KEY), (BOTH, PETER), (BOTH, ENOCH)):
        key = parse_public(text)
        assert key is not None
        note = note_of(data)
        assert note.data == data
        assert is_signed(note, key)
        assert signed_by(note, [key]) == [key]


def test_a_note_with_several_keys_names_those_that_signed() -> None:
    keys = [key for key in map(parse_public, (PETER, ENOCH, EXAMPLE_KEY)) if key]
    assert signed_by(note_of(BOTH), keys) == keys[:2]
    assert signed_by(note_of(EXAMPLE), keys[:2]) == "no key that we know signed it"


def test_one_wrong_signature_of_a_known_key_rejects_the_note() -> None:
    keys = [key for key in map(parse_public, (PETER, ENOCH)) if key]
    wrong = BOTH.replace(b"rwz+eBzm", b"rwz+eBzn")
    assert str(signed_by(note_of(wrong), keys)).startswith("the signature of EnochRoot (af0cfe78) is wrong")
    assert signed_by(note_of(wrong), keys[:1]) == keys[:1]  # of a key that nobody knows it is no matter
    assert "wrong" in signed_by(note_of(BOTH.replace(b"your problem is", b"your solution is")), keys)


def test_a_key_of_the_same_name_or_the_same_id_is_not_the_key() -> None:
    peter = parse_public(PETER)
    assert peter is not None
    renamed = note_of(BOTH.replace("— PeterNeumann".encode(), "— CarmenSandiego".encode()))
    assert renamed.by(peter) is None


@pytest.mark.parametrize("start", range(0, len(PETER), 3))
def test_a_part_of_a_key_is_no_key(start: int) -> None:
    for end in range(start + 1, len(PETER) + 1):
        if (start, end) != (0, len(PETER)):
            assert parse_public(PETER[start:end]) is None


def test_every_mangled_key_is_no_key() -> None:
    for text, read in ((PETER, parse_public), (PETER_SIGNER, parse_private)):
        for at in range(len(text)):
            assert read(text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]) is None
    assert parse_public("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==") is None
    assert parse_public("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW") is None
    assert parse_private("PRIVATE+KEY+a") is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\n\n", "not UTF-8"),
        (b"a\tb\n\n" + PETER_SIGNS.encode(), "control"),
        (b"a\r\n\n" + PETER_SIGNS.encode(), "control"),
        (b"", "no signatures"),
        (TEXT.encode(), "no signatures"),
        (f"{TEXT}\n".encode(), "no signatures"),
        (f"{TEXT}{PETER_SIGNS}".encode(), "no signatures"),
        (f"{TEXT}\n{PETER_SIGNS}"[:-1].encode(), "no signatures"),
        (f"{TEXT}\n{PETER_SIGNS}x\n".encode(), "not a signature"),
        (f"{TEXT}\n— Bad Name x08go/ZJ\n".encode(), "not a signature"),
        (f"{TEXT}\n— a AAAA\n".encode(), "not a signature"),
        (f"{TEXT}\n— a  AAAAAAAA\n".encode(), "not a signature"),
        (f"{TEXT}\n- a AAAAAAAA\n".encode(), "not a signature"),
        (f"{TEXT}\n{PETER_SIGNS * 65}".encode(), "more than 64"),
    ],
)
def test_what_is_not_a_note_is_a_reason(data: bytes, why: str) -> None:
    assert why in str(parse_note(data))


def test_text_may_hold_blank_lines_and_only_the_last_one_separates() -> None:
    key = PrivateKey("a", PLAIN, bytes(32))
    text = "one\n\n— looks like a signature AAAAAAAA\n\ntwo\n"
    note = Note(text, (sign(text, key),))
    assert parse_note(note.data) == note
    assert is_signed(note, key.public)


def test_a_witness_signs_the_text_and_the_time() -> None:
    key = PrivateKey("w", WITNESS, bytes(32))
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    made = sign(text, key, at_s=1679315147)
    assert int.from_bytes(made.data[:8], "big") == 1679315147
    note = Note(text, (made,))
    assert is_signed(note, key.public)
    later = Note(text, (type(made)("w", made.id, (1679315148).to_bytes(8, "big") + made.data[8:]),))
    assert not is_signed(later, key.public)
    plain = PrivateKey("w", PLAIN, bytes(32))
    assert plain.public.id != key.public.id
    assert not is_signed(note, plain.public)
    assert parse_private(key.secret) == key


def test_what_cannot_be_a_note_is_not_signed() -> None:
    for text in ("", "no end", "a\tb\n"):
        with pytest.raises(ValueError, match="lines without control"):
            sign(text, PrivateKey("a", PLAIN, bytes(32)))


def test_a_private_key_does_not_show_itself() -> None:
    key = PrivateKey("a", PLAIN, b"\x07" * 32)
    assert "BwcH" not in f"{key!r} {key}"
    assert "\\x07" not in repr(key)


def test_names_have_neither_spaces_nor_plus_signs() -> None:
    assert is_name("go-cache-safeguard/ab")
    for name in ("", "a b", "a+b", "a\u2003b", "a\nb", "a\x00b"):
        assert not is_name(name)


def test_a_key_as_openssl_reads_it_is_one_that_cryptography_reads() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = PrivateKey("a", PLAIN, bytes(32)).public
    loaded = load_pem_public_key(key.pem.encode())
    assert isinstance(loaded, Ed25519PublicKey)
    assert loaded.public_bytes_raw() == key.public
