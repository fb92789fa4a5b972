"""What can be said of a trace before it has begun."""

from go_cache_safeguard.signals.strategies import strategies
from go_cache_safeguard.telemetry.rules import default_rules, parse_rules

_ADAPTIVE = {"adaptive": {"least": "5%", "most": "15%"}}


def test_what_is_known_at_the_end_only_is_passed_over() -> None:
    assert strategies(default_rules(), 1.0) == {
        "default_strategy": {"type": "probabilistic", "param": 0.15},
        "service_strategies": [],
    }
    assert strategies(default_rules(), 0.0)["default_strategy"]["param"] == 0.05


def test_each_service_has_every_operation_that_rules_name_because_jaeger_adds_the_others() -> None:
    rules = parse_rules(
        {
            "sampling": [
                {"name": "slow", "when": {"duration_over": "1s", "service": "pay"}, "keep": "always"},
                {"name": "front", "when": {"service": "front"}, "keep": "always"},
                {"name": "probes", "when": {"name": "GET /healthz"}, "keep": "never"},
                {"name": "guard", "when": {"service": "g*", "name": "guard.*"}, "keep": "always"},
                {"name": "rest", "keep": _ADAPTIVE},
            ]
        }
    )
    found = strategies(rules, 1.0, ["other", "front"])
    probe = [{"operation": "GET /healthz", "type": "probabilistic", "param": 0.0}]
    assert found["default_strategy"] == {"type": "probabilistic", "param": 0.15, "operation_strategies": probe}
    front, other = found["service_strategies"]
    assert (front["service"], front["param"], front["operation_strategies"][0]["param"]) == ("front", 1.0, 1.0)
    assert (other["service"], other["param"], other["operation_strategies"]) == ("other", 0.15, probe)
