"""Signs become events."""

from go_cache_safeguard.signals.cause import Cause, Shape
from go_cache_safeguard.signals.changepoint import Change, Metric
from go_cache_safeguard.signals.clusters import Cluster
from go_cache_safeguard.signals.drain import Surge
from go_cache_safeguard.signals.event import AGAINST, BY_ID, BY_MISSES, BY_TIME, Act, Group, join, suspicions

_S = 1_000_000_000
_OP = "op_0123456789abcdef"
_CAUSE = Cause("catalog", "SELECT product", Shape.MISSES, 0.9, 0.8, 0.1, 0, 0, 1, 0.1, "")
_ACT = Act(_OP, "redis shop", 90 * _S, 98 * _S)


def _group(
    start_s: int = 100, misses: tuple[float, float] | None = None, *, carried: bool = False, cause: Cause = _CAUSE
) -> Group:
    services, ops = frozenset({"edge", cause.service}), frozenset({_OP}) if carried else frozenset()
    cluster = Cluster((bytes(15) + bytes([start_s]),), 10 * _S, 160 * _S, (), services, 0.4, 0.0, ops)
    return Group(cluster, start_s * _S, cause, misses)


def _change(service: str, start_s: int, end_s: int = 160) -> Change:
    return Change(service, Metric.P95, start_s * _S, end_s * _S, 10, 90, 8)


def _surge(trace: str = "", services: tuple[str, ...] = (), at_s: int = 120, op: str = "") -> Surge:
    traces, ops = frozenset({trace} - {""}), frozenset({op} - {""})
    return Surge("aa", "no <*>", 9, 0, at_s * _S, 150 * _S, frozenset(services), traces, ops)


def test_signs_are_joined_by_trace_by_operation_and_by_time_and_service() -> None:
    group = _group(carried=True)
    by_trace = _surge(trace=group.cluster.traces[0].hex(), at_s=500)
    found = join([group], [by_trace, _surge(op=_OP), _surge(services=("edge",))], [_change("edge", 105)], [_ACT])
    (event,) = found
    assert (len(event.surges), len(event.changes), event.score) == (3, 1, 1.0)
    later, elsewhere = _change("edge", 400, 450), _change("search", 105)
    assert len(join([group], [], [later, elsewhere], [])) == 3


def test_an_operation_that_came_before_is_named_first_with_how_sure_that_is() -> None:
    def first(group: Group, act: Act = _ACT) -> tuple[str, float]:
        (event,) = join([group], [], [], [act])
        return event.operation, event.causes[0].sure

    assert first(_group(carried=True)) == (_OP, BY_ID)
    assert first(_group(misses=(0.95, 0.04))) == (_OP, BY_MISSES)
    assert first(_group()) == (_OP, BY_TIME)
    assert first(_group(misses=(0.05, 0.04))) == ("", 0.9)
    assert first(_group(start_s=60)) == ("", 0.9)  # it began before
    assert first(_group(), Act(_OP, "x", -900 * _S, -400 * _S)) == ("", 0.9)  # long after
    (event,) = join([_group(misses=(0.05, 0.04))], [], [], [_ACT])
    assert (event.causes[-1].operation, event.causes[-1].sure) == (_OP, AGAINST)


def test_two_troubles_at_a_time_are_two_events_and_one_purge_that_two_services_feel_is_one() -> None:
    other = Cause("fraud", "model", Shape.WORK, 0.8, 0.8, 0.1, 0, 0, 1, 1, "")
    both = [_group(), _group(start_s=101, cause=other)]
    assert len(join(both, [], [], [])) == 2
    assert len(join(both, [], [], [_ACT])) == 1


def test_without_traces_the_first_change_is_what_can_be_said_and_lines_alone_say_nothing() -> None:
    (event,) = join([], [], [_change("edge", 110), _change("cart", 105)], [])
    assert event.causes[0].words == "p95 of cart went from 10 ms to 90 ms"
    (lines,) = join([], [_surge(services=("cart",))], [], [])
    assert (lines.causes, lines.score) == ((), 0.2)
    assert join([], [], [], [_ACT]) == ()


def test_services_that_feel_an_event_speak_against_the_operation_that_it_names() -> None:
    events = join([_group(misses=(0.95, 0.04))], [], [], [_ACT])
    assert sorted(suspicions(events, _OP)) == ["catalog", "edge"]
    assert suspicions(events, "op_another") == {}
