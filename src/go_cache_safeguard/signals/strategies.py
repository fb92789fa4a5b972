"""The rule file as strategies of Jaeger's remote sampling: what can be decided before a request has begun.

Knows:     what of a rule is known at the head of a trace: its service and its first operation.
Called by: `flows.collector`.
Never:     claims to keep errors or slow traces: nobody knows at the head which those will be.
Source:    jaegertracing/jaeger v1.76, internal/sampling/samplingstrategy/file: default_strategy, service_strategies,
           operation_strategies; `param` is a probability from 0 to 1.

A rule that asks for a status, a duration or an attribute cannot be judged at the head and is passed over. Jaeger has no `*`: services
of such rules must be named. A head sampler keeps the lower ids and ours the higher ones, so a service should have one or the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from go_cache_safeguard.telemetry.rules import Rule, RuleFile
from go_cache_safeguard.telemetry.sampling import share


def strategies(rules: RuleFile, level: float, services: Sequence[str] = ()) -> Mapping[str, Any]:
    """What Jaeger's file of strategies holds.

    Args:
        rules: The rule file.
        level: How generous adaptive rules are, 0 (`least`) to 1 (`most`).
        services: Services that are told of besides those that rules name without `*`.
    """
    known = [rule for rule in rules.rules if _at_head(rule)]
    named = {rule.when.service.text for rule in known if rule.when.service and "*" not in rule.when.service.text}
    usual = _probability(known, level, service="", operation="")
    found = [_strategy(known, level, service) for service in sorted({*services, *named})]
    return {
        "default_strategy": {**_chance(usual), **_operations(known, level, "")},
        "service_strategies": [{"service": name, **strategy} for name, strategy in found],
    }


def _at_head(rule: Rule) -> bool:
    when = rule.when
    return when.status is None and when.duration_ms is None and not when.attributes


def _strategy(known: Sequence[Rule], level: float, service: str) -> tuple[str, Mapping[str, Any]]:
    usual = _probability(known, level, service=service, operation="")
    return service, {**_chance(usual), **_operations(known, level, service)}


def _operations(known: Sequence[Rule], level: float, service: str) -> Mapping[str, Any]:
    """Operations that rules name without `*`; all of them each time, because Jaeger takes missing ones from the default strategy."""
    names = {rule.when.name.text for rule in known if rule.when.name and "*" not in rule.when.name.text}
    told = [
        {"operation": name, **_chance(_probability(known, level, service=service, operation=name))}
        for name in sorted(names)
    ]
    return {"operation_strategies": told} if told else {}


def _probability(known: Sequence[Rule], level: float, *, service: str, operation: str) -> float:
    """What the first rule says that applies to an operation of a service; empty for one that no rule names."""
    for rule in known:
        when = rule.when
        of_service = when.service is None or (bool(service) and when.service.matches(service))
        of_operation = when.name is None or (bool(operation) and when.name.matches(operation))
        if of_service and of_operation:
            return share(rule.keep, level)
    raise AssertionError("the last rule takes every trace")


def _chance(probability: float) -> Mapping[str, Any]:
    return {"type": "probabilistic", "param": probability}
