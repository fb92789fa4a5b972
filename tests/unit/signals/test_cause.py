"""Root causes, scored on faults of known place: systems, seeds and numbers of requests that nothing was tuned on."""

from faulty_traces import FAULTS, SYSTEMS, made
from go_cache_safeguard.signals.cause import causes
from go_cache_safeguard.signals.selftime import profile

_SEEDS = (7_001, 7_002)


def test_the_injected_fault_is_named_first_in_95_of_100() -> None:
    wrong, faults = [], 0
    for system in SYSTEMS:
        for seed in _SEEDS:
            healthy = profile(made(system, 40, seed + 500))
            for fault in FAULTS[system]:
                best, *_ = causes(profile(made(system, 25, seed, fault)), healthy)
                faults += 1
                if (best.service, best.name) != fault.truth:
                    wrong.append((system, seed, fault.name, best.sentence))
    assert faults >= 40
    assert len(wrong) <= faults * 0.05, wrong


def test_the_first_line_is_a_sentence_with_the_baseline() -> None:
    healthy = profile(made("shop", 40, 1))
    pool, *_ = causes(profile(made("shop", 25, 2, FAULTS["shop"][0])), healthy)
    assert pool.sentence.startswith(
        "98 % of the time is waiting for a connection from the pool (JedisPool.getResource in payment-gateway), 0."
    )
    assert pool.sentence.endswith("% in the baseline")
    spread = next(fault for fault in FAULTS["shop"] if fault.name == "errors that spread")
    errors, *_ = causes(profile(made("shop", 25, 2, spread)), healthy)
    assert "of the requests fail where SELECT rules in fraud fails first" in errors.sentence


def test_without_a_baseline_it_says_where_the_time_went() -> None:
    best, *_ = causes(profile(made("shop", 25, 2, FAULTS["shop"][0])), None)
    assert (best.name, best.share_before) == ("JedisPool.getResource", None)
    assert "baseline" not in best.sentence


def test_healthy_requests_have_no_cause_worth_a_word_and_none_has_none() -> None:
    healthy = profile(made("media", 40, 1))
    assert causes(profile([]), healthy) == ()
    assert causes(healthy, healthy) == ()
