"""The alert rules and the dashboard: promtool finds nothing wrong, and every metric that they name exists."""

import json
import re
import subprocess
from typing import Any

import yaml

from alerting import RULES, program
from go_cache_safeguard.redis.metrics import BUILD, JOURNAL, NODES, SHARED, Kind
from gocaches import REPOSITORY

TESTS = RULES.with_name("go-cache-safeguard.tests.yml")
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "redis-guard.json"
ENDS = {Kind.COUNTER: ("_total",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}
KNOWN = {metric.full_name + end for metric in (*SHARED, *JOURNAL, *NODES) for end in ENDS[metric.kind]} | {
    f"{BUILD}_info"
}
NAMED = re.compile(r"go_cache_safeguard_\w+")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    promtool("check", "rules", "--lint-fatal", str(RULES))


def test_each_rule_alerts_when_it_should_and_not_before() -> None:
    promtool("test", "rules", str(TESTS))
    tried = {
        (one["alertname"], bool(one["exp_alerts"]))
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for one in test["alert_rule_test"]
    }
    assert tried == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_each_rule_says_what_is_wrong_and_is_in_the_docs() -> None:
    docs = (REPOSITORY / "docs" / "redis.md").read_text()
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert f"`{rule['alert']}`" in docs


def test_every_metric_is_in_the_docs() -> None:
    docs = (REPOSITORY / "docs" / "redis.md").read_text()
    for metric in (*SHARED, *JOURNAL, *NODES):
        name = metric.name + ("_total" if metric.kind is Kind.COUNTER else "")
        assert f"`{name}`" in docs, name


def test_rules_and_dashboard_name_only_metrics_that_there_are() -> None:
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 10
    for query in (*queries, *(rule["expr"] for rule in rules())):
        assert set(NAMED.findall(query)) <= KNOWN, query


def test_each_query_of_the_dashboard_can_be_read_by_prometheus() -> None:
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    records = [
        {"record": f"query:{at}", "expr": re.sub(r"\$__rate_interval", "5m", one)} for at, one in enumerate(queries)
    ]
    done = subprocess.run(
        [program("promtool"), "check", "rules", "/dev/stdin"],
        input=yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_places_of_their_own_and_are_explained() -> None:
    board = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        assert panel["description"].endswith(".")
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
