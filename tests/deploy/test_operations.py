"""Rules, dashboard and timer of operations: promtool and systemd find nothing wrong, and every metric they name exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from alerting import OPERATIONS, program
from go_cache_safeguard.approval.alarm import ALERTS
from go_cache_safeguard.approval.figures import FIGURES, OF_JOURNAL
from gocaches import REPOSITORY

TESTS = OPERATIONS.with_name("go-cache-safeguard-operations.tests.yml")
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "operations.json"
UNITS = REPOSITORY / "deploy" / "systemd"
KNOWN = {figure.full_name for figure in (*FIGURES, *OF_JOURNAL)}
NAMED = re.compile(r"go_cache_safeguard_\w+")
DOCS = (REPOSITORY / "docs" / "alerts.md").read_text()


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(OPERATIONS.read_text())["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def promtool(*arguments: str, given: str | None = None) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], input=given, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    promtool("check", "rules", "--lint-fatal", str(OPERATIONS))


def test_each_rule_alerts_when_it_should_and_not_before() -> None:
    promtool("test", "rules", str(TESTS))
    tried = {
        (one["alertname"], bool(one["exp_alerts"]))
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for one in test["alert_rule_test"]
    }
    assert tried == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_each_rule_says_what_is_wrong_and_each_alert_and_metric_is_in_the_docs() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    for name in (*(rule["alert"] for rule in rules()), *ALERTS, *KNOWN):
        assert f"`{name}`" in DOCS, name


def test_no_name_means_two_alerts() -> None:
    assert not {rule["alert"] for rule in rules()} & set(ALERTS)


def test_rules_and_dashboard_name_only_metrics_that_there_are() -> None:
    assert len(queries()) > 10
    for query in (*queries(), *(rule["expr"] for rule in rules())):
        assert set(NAMED.findall(query)) <= KNOWN, query


def test_each_query_of_the_dashboard_can_be_read_by_prometheus() -> None:
    records = [{"record": f"query:{at}", "expr": one} for at, one in enumerate(queries())]
    promtool("check", "rules", "/dev/stdin", given=yaml.safe_dump({"groups": [{"name": "board", "rules": records}]}))


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


def test_systemd_finds_nothing_wrong_with_the_timer(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/local/bin/go-cache-safeguard", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    verify = shutil.which("systemd-analyze")
    assert verify is not None, "systemd-analyze is missing: run `make setup`"
    done = subprocess.run(
        [verify, "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in done.stderr.splitlines() if "go-cache-safeguard" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
