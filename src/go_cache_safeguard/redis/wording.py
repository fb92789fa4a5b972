"""A call as people may see it: in plans, in the journal, in messages.

Knows:     which words of a call are passwords, which are keys, and how much of a value is shown.
Called by: `flows`, for what an operation or a note is about.
Never:     shows a password, or a control character; cuts the name of a key without saying so. What an approval is bound to is
           the digest of the whole call, not this text.
Source:    AUTH, HELLO, ACL SETUSER, CONFIG SET, MIGRATE, SENTINEL SET (Redis 6.2 to 8, Valkey 9).
"""

import re
from collections.abc import Collection, Iterator, Sequence

from go_cache_safeguard.redis.commands import token
from go_cache_safeguard.redis.keyname import text_of

HIDDEN = "***"
_SECRET = re.compile(rb"pass|auth|secret|credential|token", re.IGNORECASE)
_RULES_OF_USERS = (b">", b"<", b"#", b"!")
_VALUE, _NAME = 32, 160
_WORDS, _COMMANDS = 40, 20


def shown(commands: Sequence[tuple[bytes, ...]], keys: Collection[bytes] = ()) -> tuple[str, ...]:
    """Words of a call, or of a transaction with `;` between its calls.

    Args:
        commands: One, or those of a transaction.
        keys: Names of keys: they are shown, and values only begun.
    """
    words: list[str] = []
    for number, command in enumerate(commands[:_COMMANDS]):
        words += [";"] if number else []
        words += _of_command(command, keys)
    if len(commands) > _COMMANDS:
        words.append(f"; and {len(commands) - _COMMANDS} more commands")
    return tuple(words)


def _of_command(command: tuple[bytes, ...], keys: Collection[bytes]) -> Iterator[str]:
    hidden = set(_passwords(command)) | {at for at in _after_secrets(command) if command[at] not in keys}
    for at, word in enumerate(command[:_WORDS]):
        if at in hidden:
            yield HIDDEN
        else:
            yield _cut(word, _NAME if word in keys or not at else _VALUE)
    if len(command) > _WORDS:
        yield f"and {len(command) - _WORDS} more words"


def _cut(word: bytes, most: int) -> str:
    text = text_of(word[:most]) if len(word) <= most else f"{text_of(word[:most])}...({len(word)}B)"
    return f'"{text}"' if not text or " " in text else text


def _passwords(command: tuple[bytes, ...]) -> Iterator[int]:
    """Positions that are passwords by what the command is, whatever else they may be taken for."""
    words = [token(word) for word in command]
    name, end = words[0], len(words)
    if name == b"AUTH":
        yield from range(1 if end == 2 else 2, end)
    elif words[:2] == [b"ACL", b"SETUSER"]:
        yield from (at for at in range(3, end) if command[at].startswith(_RULES_OF_USERS))
    elif name in {b"HELLO", b"MIGRATE"}:
        for at, word in enumerate(words):
            takes = 2 if word == b"AUTH2" or name == b"HELLO" else 1
            if word in {b"AUTH", b"AUTH2"} and at + takes < end:
                yield at + takes


def _after_secrets(command: tuple[bytes, ...]) -> Iterator[int]:
    """Positions behind a word such as `requirepass` or `auth-pass`: in CONFIG SET, and in commands that nobody knows."""
    first = 2 if token(command[0]) in {b"CONFIG", b"SENTINEL", b"ACL"} else 1
    for at in range(first, len(command) - 1):
        if _SECRET.search(command[at]) is not None:
            yield at + 1
