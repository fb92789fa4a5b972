"""Effects and how bad they are."""

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.classify import Kind
from go_cache_safeguard.gocache.damage import SEVERITY, Effect, effect_of_content


def test_every_effect_has_a_severity() -> None:
    assert set(SEVERITY) == set(Effect)
    assert SEVERITY[Effect.UNKNOWN] is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("kind", "readable", "effect"),
    [
        (Kind.ARCHIVE, True, Effect.SILENTLY_WRONG),
        (Kind.ARCHIVE, False, Effect.BUILD_FAILS_FOREVER),
        (Kind.OTHER, True, Effect.SILENTLY_WRONG),
        (Kind.OTHER, False, Effect.BUILD_FAILS_FOREVER),
        (Kind.EXECUTABLE, True, Effect.SILENTLY_WRONG),
        (Kind.GO_SOURCE, True, Effect.SILENTLY_WRONG),
        (Kind.INDEX, True, Effect.BUILD_FAILS_FOREVER),
        (Kind.VET_FACTS, False, Effect.BUILD_FAILS_FOREVER),
        (Kind.TEST_OUTPUT, False, Effect.HEALS_ITSELF),
        (Kind.SOURCE_LIST, True, Effect.HEALS_ITSELF),
    ],
)
def test_wrong_content_does_what_was_seen_with_real_toolchains(kind: Kind, effect: Effect, *, readable: bool) -> None:
    assert effect_of_content(kind, readable=readable) is effect
