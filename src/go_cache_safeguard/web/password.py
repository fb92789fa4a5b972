"""How passwords are kept.

Knows:     argon2id and its costs.
Called by: `web.login`, `web.office`.
Never:     keeps, shows or writes down a password.
Source:    RFC 9106 section 4 (argon2id; the recommended costs with little memory are 64 MiB and 3 passes).
"""

import unicodedata

from argon2 import PasswordHasher

from go_cache_safeguard.config.resolve import Config

_LONGEST = 1_024


def hasher(config: Config) -> PasswordHasher:
    """How passwords are kept."""
    return PasswordHasher(
        time_cost=config.count("serve.password_passes"),
        memory_cost=config.size("serve.password_memory") // 1024,
        parallelism=1,
    )


def plain(password: str) -> str:
    """A password in one spelling, whatever keyboard it came from, and not longer than anybody types."""
    return unicodedata.normalize("NFC", password[:_LONGEST])
