"""Whose call it is."""

import pytest

from go_cache_safeguard.debt.calls import Names, Words, judge
from go_cache_safeguard.debt.finding import Api, Kind

OLD, NEW = Api.OPENTRACING, Api.OPENTELEMETRY
WORDS = Words(
    sure={"buildSpan": (OLD, Kind.BUILD), "spanBuilder": (NEW, Kind.BUILD)},
    owners={"GlobalTracer": OLD},
    shared={OLD: {"finish": Kind.FINISH, "inject": Kind.CARRY}, NEW: {"end": Kind.FINISH, "inject": Kind.CARRY}},
)


@pytest.mark.parametrize(
    ("spine", "verdict"),
    [
        (("tracer", "buildSpan"), (OLD, Kind.BUILD)),
        (("tracer", "spanBuilder"), (NEW, Kind.BUILD)),
        (("house", "buildSpan"), None),
        (("buildSpan",), None),
        (("GlobalTracer", "get"), (OLD, Kind.GLOBAL)),
        (("race", "finish"), None),
        (("span", "finish"), None),
        (("bridge", "finish"), (OLD, Kind.FINISH)),
        (("self", "bridge", "finish"), (OLD, Kind.FINISH)),
        (("both", "inject"), None),
        (("tracer", "buildSpan", "finish"), (OLD, Kind.FINISH)),
        (("other", "tracer", "buildSpan"), None),
    ],
)
def test_a_call_that_may_be_anybodys_is_nobodys(spine: tuple[str, ...], verdict: tuple[Api, Kind] | None) -> None:
    names = Names(foreign={"other"})
    names.hold("bridge", OLD)
    names.hold("both", OLD)
    names.hold("both", NEW)
    assert judge(spine, WORDS, names) == verdict


def test_a_name_that_tells_is_enough_where_only_one_api_is_imported() -> None:
    assert judge(("span", "finish"), WORDS, Names(present={OLD})) == (OLD, Kind.FINISH)
    assert judge(("span", "finish"), WORDS, Names(present={OLD, NEW})) is None
    assert judge(("race", "finish"), WORDS, Names(present={OLD})) is None
