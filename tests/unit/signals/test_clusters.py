"""Groups of unusual traces, scored on injected faults: seeds that nothing was tuned on. `benchmarks/anomalies.py` does it for all faults."""

from statistics import mean

from faulty_traces import FAULTS, made
from go_cache_safeguard.flows.anomalies import judge
from go_cache_safeguard.signals.clusters import clustered, merged
from go_cache_safeguard.signals.features import measure
from labelled_faults import WINDOW, scored, situation, traces_of

_SOME = (
    ("shop", "cold cache after a purge"),
    ("media", "lock wait"),
    ("bank", "errors that spread"),
)


def test_faults_are_told_apart_odd_traces_kept_apart_and_causes_named() -> None:
    chosen = [(system, fault) for system, name in _SOME for fault in FAULTS[system] if fault.name == name]
    alone = [scored(situation(system, [fault], 7_100)) for system, fault in chosen]
    together = scored(situation("media", [FAULTS["media"][0], FAULTS["media"][3], FAULTS["media"][9]], 7_200))
    scores = [*alone, together]
    assert mean(one.ari for one in scores) >= 0.9
    assert mean(one.noise for one in scores) >= 0.9
    assert sum(one.named for one in scores) >= sum(one.faults for one in scores) - 1
    assert sum(one.false for one in scores) == 0


def test_a_healthy_window_has_no_cluster_and_without_a_baseline_nothing_is_unusual() -> None:
    found = judge(WINDOW, situation("bank", [], 7_300, odds=0).read)
    assert not any(event.groups for event in found.events)
    assert len(found.noise) <= 0.01 * found.traces
    slow = [measure(trace) for trace in traces_of(made("bank", 20, 1, FAULTS["bank"][0]))]
    assert clustered(slow, ()).clusters == ()
    assert clustered((), slow).traces == 0


def test_a_cluster_says_what_sets_it_apart_and_can_be_joined_with_another() -> None:
    healthy = [measure(trace) for trace in traces_of(made("shop", 120, 2))]
    slow = [measure(trace) for trace in traces_of(made("shop", 20, 3, FAULTS["shop"][0]))]
    (cluster,) = clustered([*healthy[60:], *slow], healthy[:60]).clusters
    assert "more time here (JedisPool.getResource in payment-gateway)" in cluster.words
    assert cluster.services == {"edge", "payment-gateway"}
    assert (len(cluster.traces), cluster.share_before, len(cluster.examples)) == (20, 0, 3)
    assert merged([cluster, cluster]).share == 2 * cluster.share
