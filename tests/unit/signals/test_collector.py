"""A Collector's configuration, as far as it can be judged without one; tests/engines asks a real one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from go_cache_safeguard.signals.collector import Places, balancer, collector, tail_sampling
from go_cache_safeguard.signals.ottl import NotForCollector
from go_cache_safeguard.telemetry.rules import default_rules, parse_rules

_EXAMPLE = parse_rules(yaml.safe_load(Path("docs/signals/rules.yaml").read_text()))


def _composite(made: Any) -> Any:
    (policy,) = made["policies"]
    return policy["composite"]


def test_each_rule_is_asked_in_turn_and_ends_the_search() -> None:
    made = _composite(tail_sampling(_EXAMPLE, 0.5))
    order = ["errors", "slow", "purges", "probes/else", "payments", "payments/else", "rest", "rest/else"]
    assert made["policy_order"] == order == [part["name"] for part in made["composite_sub_policy"]]
    assert [one["policy"] for one in made["rate_allocation"]] == ["errors", "slow", "purges", "payments", "rest"]
    assert all(one["percent"] == 100 for one in made["rate_allocation"])
    kept, ended = (next(one for one in made["composite_sub_policy"] if one["name"] == name) for name in order[4:6])
    assert kept["and"]["and_sub_policy"][:-1] == ended["and"]["and_sub_policy"]
    assert kept["and"]["and_sub_policy"][-1]["name"] == "chance"


def test_what_is_certain_is_not_left_to_chance() -> None:
    sure = parse_rules({"sampling": [{"name": "all", "keep": {"adaptive": {"least": "0%", "most": "100%"}}}]})
    assert _composite(tail_sampling(sure, 1.0))["composite_sub_policy"] == [{"name": "all", "type": "always_sample"}]
    none = _composite(tail_sampling(sure, 0.0))
    assert ([one["name"] for one in none["composite_sub_policy"]], none["rate_allocation"]) == (["all/else"], [])


def test_metrics_are_counted_before_sampling_and_everything_that_leaves_is_redacted() -> None:
    made = collector(_EXAMPLE, 1.0, Places(loki="http://loki:3100/", tenants=("acme",)))
    pipelines = made["service"]["pipelines"]
    assert "tail_sampling" not in pipelines["traces/metrics"]["processors"]
    assert pipelines["traces"]["processors"] == ["memory_limiter", "tail_sampling", "transform/redaction", "redaction"]
    assert "transform/redaction" in pipelines["logs"]["processors"]
    assert made["exporters"]["otlphttp/loki"]["endpoint"] == "http://loki:3100/otlp"
    assert made["exporters"]["otlphttp/acme"]["headers"] == {"x-tenant-id": "acme"}
    assert made["exporters"]["otlphttp/shared"]["headers"] == {"x-tenant-id": "shared"}
    named = {part for one in pipelines.values() for part in (*one["receivers"], *one["processors"], *one["exporters"])}
    known = {part for kind in ("receivers", "processors", "exporters", "connectors") for part in made[kind]}
    assert named == known


def test_no_dollar_but_that_of_the_key_begins_a_variable() -> None:
    text = yaml.safe_dump(collector(_EXAMPLE, 1.0, Places(tenants=("acme",))), width=1_000_000)
    for at, part in enumerate(text.replace("$$", "").split("$")):
        assert at == 0 or part.startswith("{env:GUARD_REDACTION_KEY}")
    assert "*id0" not in text, "aliases, which some distributions refuse"


def test_the_first_tier_only_shares_out() -> None:
    made = balancer(Places(next=("a:4317", "b:4317")))
    assert made["exporters"]["loadbalancing"]["routing_key"] == "traceID"
    assert made["exporters"]["loadbalancing"]["resolver"] == {"static": {"hostnames": ["a:4317", "b:4317"]}}
    assert made["service"]["pipelines"]["traces"]["processors"] == ["memory_limiter"]


@pytest.mark.parametrize(
    "places",
    [Places(tenants=("a b",)), Places(jaeger="not an url"), Places(loki="loki:3100"), Places(prometheus="8889"), Places(next=("a",))],
    ids=["tenant", "jaeger", "loki", "prometheus", "next"],
)  # fmt: skip
def test_a_place_that_is_none_is_refused(places: Places) -> None:
    with pytest.raises(NotForCollector, match="is no"):
        collector(default_rules(), 1.0, places)
