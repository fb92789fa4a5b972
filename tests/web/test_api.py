"""The API: what it takes and gives, what a failure looks like, and that nothing of it tells a secret."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from apisites import DIGEST, EVERY_SCOPE, OTHER_HOST, OTHERS, ApiSite, Calls, api_site, filing, inside
from go_cache_safeguard.approval.token import parse_token
from go_cache_safeguard.approval.voter import Channel, Role, Voter
from go_cache_safeguard.core.canonical import canonical
from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.web import api
from go_cache_safeguard.web.api import ROUTES, document
from go_cache_safeguard.web.schema import EVIDENCE_BYTES, PROBLEM

ROOT = "/api/v1"
PROBLEM_FIELDS = {"type", "title", "status", "detail", "id", "hint", "not_done"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(tmp_path_factory.mktemp("site")) as found:
        found.person("build-7", Role.REQUESTER)
        found.person("build-8", Role.REQUESTER)
        found.person("bob", Role.APPROVER, links=("none@*", "none"))
        found.person("eve", Role.AUDITOR)
        yield found


@pytest.fixture(scope="module")
def calls(site: ApiSite) -> Iterator[Calls]:
    with inside(site) as found:
        yield found


def problem(answer: httpx.Response, status: int, failure: str = "") -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    value: dict[str, Any] = answer.json()
    assert value.keys() == PROBLEM_FIELDS
    assert value["status"] == status
    assert value["type"] == f"urn:go-cache-safeguard:{value['id']}"
    assert not failure or value["id"] == failure
    assert value["not_done"]
    assert "Traceback" not in answer.text
    return value


def minted(site: ApiSite, calls: Calls, op: str, name: str = "bob", **body: int) -> dict[str, Any]:
    """A token with which an operation can be approved in the name of somebody."""
    answer = calls("POST", f"{ROOT}/operations/{op}/token", body, token=site.token(name))
    assert answer.headers["cache-control"] == "no-store"
    return good(answer, 201)


def good(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    value: dict[str, Any] = answer.json()
    assert canonical(value) == answer.content
    return value


def test_the_description_is_public_and_openapi_says_what_each_call_is(calls: Calls) -> None:
    told = calls("GET", f"{ROOT}/openapi.json")
    assert told.status_code == 200
    value = told.json()
    assert value["openapi"].startswith("3.1")
    assert value["servers"] == [{"url": ROOT}]
    ids = {one["operationId"] for path in value["paths"].values() for one in path.values()}
    assert len(ids) == len(ROUTES)
    for path in value["paths"].values():
        for method, one in path.items():
            declared = {int(status) for status in one["responses"]}
            assert {401, 403, 404, 422, 429} < declared
            assert method == "get" or {409, 410} < declared
            assert all(PROBLEM in one["responses"][str(status)]["content"] for status in declared if status >= 400)
    assert value == json.loads(json.dumps(document()))


def test_a_host_files_an_operation_people_approve_it_and_it_is_used_once(site: ApiSite, calls: Calls) -> None:
    host, bob = site.token("build-7"), site.token("bob")
    sent = filing()
    op = f"{ROOT}/operations/{sent['op']}"
    filed = good(calls("POST", f"{ROOT}/operations", sent, token=host), 201)
    assert filed["requester"] == "uid:1000(alice)@build-7"
    assert filed["state"] == "HELD"
    assert good(calls("POST", f"{ROOT}/operations", sent, token=host)) == filed
    problem(calls("POST", f"{op}/consume", {"digest": DIGEST}, token=host), 409)
    problem(calls("POST", f"{op}/approve", {"typed": "0" * 8}, token=bob), 403, "not-approved")
    other = {"typed": DIGEST[:8], "evidence": "0" * 64}
    assert "look again" in problem(calls("POST", f"{op}/approve", other, token=bob), 403, "not-approved")["hint"]
    seen = calls("GET", f"{op}/evidence", token=bob).json()["digest"]
    ballot = good(calls("POST", f"{op}/approve", {"typed": DIGEST[:8], "evidence": seen}, token=bob))
    assert (ballot["state"], ballot["approvers"], ballot["left"]) == ("APPROVED", ["user:bob"], 0)
    problem(calls("POST", f"{op}/approve", {"typed": DIGEST[:8]}, token=bob), 409)
    problem(calls("POST", f"{op}/consume", {"digest": "0" * 64}, token=host), 409)
    problem(calls("POST", f"{op}/consume", {"digest": DIGEST}, token=site.token("build-8")), 403)
    used = good(calls("POST", f"{op}/consume", {"digest": DIGEST}, token=host))
    assert (used["state"], used["consumed_by"], used["outcome"]) == ("PASSED", "user:build-7", None)
    problem(calls("POST", f"{op}/consume", {"digest": DIGEST}, token=host), 409)
    told = {"state": "DONE", "receipt": {"moved": 3}}
    assert good(calls("POST", f"{op}/outcome", told, token=host))["outcome"] == "DONE"
    assert good(calls("POST", f"{op}/outcome", told, token=host))["outcome"] == "DONE"
    problem(calls("POST", f"{op}/outcome", {"state": "UNKNOWN"}, token=host), 409)
    steps = [one["step"] for one in good(calls("GET", f"{op}/records", token=host))["records"]]
    assert steps == ["REQUESTED", "CHECKED", "HELD", "APPROVED", "PASSED", "outcome-told"]
    assert site.site.desks("").operation(sent["op"]).data["seen"] == seen


def test_the_same_id_is_never_two_operations(site: ApiSite, calls: Calls) -> None:
    sent = filing()
    good(calls("POST", f"{ROOT}/operations", sent, token=site.token("build-7")), 201)
    for other, host in (({"bytes": 1}, "build-7"), ({"digest": "0" * 64}, "build-7"), ({}, "build-8")):
        problem(calls("POST", f"{ROOT}/operations", {**sent, **other}, token=site.token(host)), 409)
    found = good(calls("GET", f"{ROOT}/operations/{sent['op']}", token=site.token("build-8")))
    assert (found["bytes"], found["digest"], found["host"]) == (700, DIGEST, "build-7")


def test_a_host_takes_back_what_it_filed_and_nobody_elses(site: ApiSite, calls: Calls) -> None:
    sent = filing()
    good(calls("POST", f"{ROOT}/operations", sent, token=site.token("build-7")), 201)
    op = f"{ROOT}/operations/{sent['op']}"
    problem(calls("POST", f"{op}/cancel", {}, token=site.token("build-8")), 403)
    assert good(calls("POST", f"{op}/cancel", {"why": "later"}, token=site.token("build-7")))["state"] == "CANCELLED"
    problem(calls("POST", f"{op}/cancel", {}, token=site.token("build-7")), 409)


def test_who_files_may_not_approve_even_if_let_in_for_both(site: ApiSite, calls: Calls) -> None:
    site.person("both", Role.REQUESTER, Role.APPROVER)
    sent, token = filing(), site.token("both")
    good(calls("POST", f"{ROOT}/operations", sent, token=token), 201)
    problem(calls("POST", f"{ROOT}/operations/{sent['op']}/approve", {"typed": DIGEST[:8]}, token=token), 403)


def test_a_token_of_an_approver_is_redeemed_once(site: ApiSite, calls: Calls) -> None:
    op, began = site.held().id, int(time.time())
    told = minted(site, calls, op, expires_s=600)
    token, ends = told["token"], datetime.fromisoformat(told["expires_at"])
    assert (told["schema"], told["op"]) == ("go-cache-safeguard/approval-token/1", op)
    assert began + 600 <= ends.astimezone(UTC).timestamp() <= time.time() + 601
    host, path = site.token("build-7"), f"{ROOT}/operations/{op}/redeem"
    problem(calls("POST", path, {"token": "gcs1_nonsense"}, token=host), 422)
    problem(calls("POST", path, {"token": token[:-4] + "AAAA"}, token=host), 403)
    ballot = good(calls("POST", path, {"token": token}, token=host))
    assert (ballot["state"], ballot["approvers"]) == ("APPROVED", ["user:bob"])
    problem(calls("POST", path, {"token": token}, token=host), 409)
    problem(calls("POST", f"{ROOT}/operations/{op}/token", {}, token=site.token("bob")), 409)


def test_a_token_is_for_one_operation_its_plan_and_some_time(site: ApiSite, calls: Calls) -> None:
    op, other = site.held().id, site.held(digest="1" * 64).id
    told, host = minted(site, calls, op), site.token("build-7")
    refused = problem(calls("POST", f"{ROOT}/operations/{other}/redeem", {"token": told["token"]}, token=host), 403)
    assert "was not given out for it" in refused["detail"]
    with site.sessions[""].journal(read_only=True) as journal:
        record = list(journal.records(op=op))[-1]
    assert (record.step, record.data["digest"], record.data["approver"]) == ("token-minted", DIGEST, "user:bob")
    for wrong in ({"expires_s": 59}, {"expires_s": 86_401}, {"expires_s": "600"}, {"digest": DIGEST}):
        problem(calls("POST", f"{ROOT}/operations/{op}/token", wrong, token=site.token("bob")), 422)


def test_who_asked_or_only_asks_mints_no_token(site: ApiSite, calls: Calls) -> None:
    site.person("walt", Role.REQUESTER, Role.APPROVER, links=("uid:4000",))
    op = site.held().id
    path = f"{ROOT}/operations/{op}/token"
    problem(calls("POST", path, {}, token=site.token("build-7")), 403, "not-allowed")
    problem(calls("POST", path, {}, token=site.token("bob", EVERY_SCOPE - {"approve"})), 403, "not-allowed")
    own = problem(calls("POST", path, {}, token=site.token("walt")), 403, "not-approved")
    assert "asked for it" in own["detail"]
    assert [one.step for one in site.desks[""].records(op)] == ["REQUESTED", "CHECKED", "HELD"]


@pytest.mark.parametrize("change", [{"active": False}, {"roles": frozenset({Role.AUDITOR})}])
def test_a_token_of_who_may_not_approve_any_more_counts_no_more(
    site: ApiSite, calls: Calls, change: dict[str, Any]
) -> None:
    name = f"left-{next(iter(change))}"
    site.person(name, Role.APPROVER, links=("none@*", "none"))
    op = site.held().id
    body = {"token": minted(site, calls, op, name)["token"]}
    site.people.change("", name, **change)
    path, host = f"{ROOT}/operations/{op}/redeem", site.token("build-7")
    assert f"user:{name}" in problem(calls("POST", path, body, token=host), 403, "not-approved")["detail"]
    site.people.change("", name, active=True, roles=frozenset({Role.APPROVER}))
    assert good(calls("POST", path, body, token=host))["state"] == "APPROVED"


def test_a_token_minted_at_a_terminal_counts_no_more_when_its_person_is_not_let_in(site: ApiSite, calls: Calls) -> None:
    site.person("liz", Role.APPROVER, links=("uid:5000",))
    op = site.held().id
    token = site.desks[""].mint(op, Voter("uid:5000(liz)", frozenset({Role.APPROVER}), Channel.TERMINAL), 600)
    site.people.change("", "liz", active=False)
    path, host = f"{ROOT}/operations/{op}/redeem", site.token("build-7")
    assert "uid:5000(liz)" in problem(calls("POST", path, {"token": token.text}, token=host), 403)["detail"]


def test_what_waited_too_long_is_gone(site: ApiSite, calls: Calls) -> None:
    op = site.held().id
    with site.sessions[""].journal() as journal:
        journal.advance(op, State.EXPIRED, {})
    problem(calls("POST", f"{ROOT}/operations/{op}/approve", {"typed": DIGEST[:8]}, token=site.token("bob")), 410)


def test_pages_of_operations_and_records_lead_through_all_of_them(site: ApiSite, calls: Calls) -> None:
    token = site.token("eve")
    for path, name in (("operations?state=HELD&state=APPROVED&state=PASSED", "operations"), ("journal?", "records")):
        seen, after = [], ""
        for _ in range(200):
            page = good(calls("GET", f"{ROOT}/{path}&limit=3&after={after}", token=token))
            seen += [one.get("op") if name == "operations" else one["seq"] for one in page[name]]
            if page["next"] is None:
                break
            assert len(page[name]) == 3
            after = page["next"]
        assert len(seen) == len(set(seen)) > 3
        assert seen == sorted(seen)
        assert name == "operations" or seen == list(range(1, len(seen) + 1))


def test_a_page_ends_early_rather_than_being_huge(site: ApiSite, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    token = site.token("eve")
    for path, name in (("operations?state=HELD&state=APPROVED&state=PASSED", "operations"), ("journal?", "records")):
        whole = good(calls("GET", f"{ROOT}/{path}&limit=500", token=token))
        monkeypatch.setattr(api, "PAGE_BYTES", 3_000)
        page = good(calls("GET", f"{ROOT}/{path}&limit=500", token=token))
        seen = list(page[name])
        while page["next"] is not None:
            page = good(calls("GET", f"{ROOT}/{path}&limit=500&after={page['next']}", token=token))
            assert page[name]
            seen += page[name]
        monkeypatch.undo()
        assert seen == whole[name]
        assert whole["next"] is None


@pytest.mark.parametrize(
    "query", ["after=!", "after=bm90aGluZw", "limit=0", "limit=501", "limit=x", "state=NONE", "nothing=1", "after=%ff"]
)
def test_a_question_that_makes_no_sense_is_refused(site: ApiSite, calls: Calls, query: str) -> None:
    problem(calls("GET", f"{ROOT}/operations?{query}", token=site.token("eve")), 422)


@pytest.mark.parametrize(
    "change",
    [
        {"op": "op_1"},
        {"digest": "F" * 64},
        {"bytes": -1},
        {"bytes": 1.5},
        {"bytes": "7"},
        {"bytes": 1 << 53},
        {"items": True},
        {"target": "x" * 4097},
        {"requester": "user:root"},
        {"requester": "uid:0(root)@build-8"},
        {"reasons": ["x"] * 101},
        {"evidence": {"x": 1.5}},
        {"evidence": {"schema": "another"}},
        {"evidence": {"x": "y" * EVIDENCE_BYTES}},
        {"evidence": []},
        {"expires_in_s": 1},
        {"filed_by": "user:bob"},
    ],
)
def test_a_filing_outside_of_its_limits_is_refused(site: ApiSite, calls: Calls, change: dict[str, Any]) -> None:
    sent = {**filing(), **change}
    problem(calls("POST", f"{ROOT}/operations", sent, token=site.token("build-7")), 422)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
        (b'{"bytes": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b"op=op_1", "application/x-www-form-urlencoded", 422),
        (b"{}", "text/plain", 422),
    ],
)
def test_a_body_that_is_no_json_of_ours_is_refused(
    site: ApiSite, calls: Calls, content: bytes, kind: str, status: int
) -> None:
    headers = {"Content-Type": kind}
    problem(calls("POST", f"{ROOT}/operations", content=content, headers=headers, token=site.token("build-7")), status)


def test_text_that_is_no_utf_8_comes_back_as_it_came(site: ApiSite, calls: Calls) -> None:
    sent = filing(target="/srv/\udcff\u0000\u2028", reasons=["\ud800"])
    good(calls("POST", f"{ROOT}/operations", content=canonical(sent), token=site.token("build-7"), headers=JSON), 201)
    found = good(calls("GET", f"{ROOT}/operations/{sent['op']}", token=site.token("build-7")))
    assert (found["target"], found["reasons"]) == (sent["target"], sent["reasons"])


JSON = {"Content-Type": "application/json"}


def test_too_large_a_body_a_strange_name_and_a_wrong_method_are_problems_too(site: ApiSite, calls: Calls) -> None:
    big = b'{"op": "' + b"x" * (9 << 20) + b'"}'
    problem(calls("POST", f"{ROOT}/operations", content=big, headers=JSON, token=site.token("build-7")), 413)
    problem(calls("POST", f"{ROOT}/operations", content=big[: 70 << 10], headers=JSON), 413)
    problem(calls("GET", f"{ROOT}/operations", host="elsewhere.example"), 421)
    assert problem(calls("PUT", f"{ROOT}/operations", {}, token=site.token("build-7")), 405)
    problem(calls("GET", f"{ROOT}/nothing", token=site.token("build-7")), 404)


def test_evidence_that_a_host_sends_is_what_people_see(site: ApiSite, calls: Calls) -> None:
    held = site.held()
    pack = good(calls("GET", f"{ROOT}/operations/{held.id}/evidence", token=site.token("bob")))
    jsonschema.validate(pack, document()["components"]["schemas"]["EvidencePack"])
    sent = filing(evidence=pack)
    good(calls("POST", f"{ROOT}/operations", sent, token=site.token("build-7")), 201)
    shown = good(calls("GET", f"{ROOT}/operations/{sent['op']}/evidence", token=site.token("bob")))
    assert shown["op"] == sent["op"]  # it was about another operation, so it is not shown for this one
    steps = [
        one["step"]
        for one in good(calls("GET", f"{ROOT}/operations/{sent['op']}/records", token=site.token("bob")))["records"]
    ]
    assert "evidence-filed" in steps


def test_what_belongs_to_another_tenant_is_not_there(site: ApiSite, calls: Calls) -> None:
    held = site.held(tenant=OTHERS)
    site.person("all", *Role)
    site.person("all", *Role, tenant=OTHERS)
    ours, theirs = site.token("all"), site.token("all", tenant=OTHERS)
    bodies: dict[str, dict[str, Any]] = {
        "approve": {"typed": DIGEST[:8]},
        "redeem": {"token": "gcs1_" + "A" * 43},
        "break-glass": {"typed": DIGEST[:8], "reason": "it cannot wait any longer"},
        "review": {"finding": "justified", "text": "x"},
        "consume": {"digest": DIGEST},
        "outcome": {"state": "DONE"},
    }
    for path, method, action, _, _ in ROUTES:
        if "{op}" in path:
            body = None if method == "GET" else bodies.get(action, {})
            answer = calls(method, f"{ROOT}{path.replace('{op}', held.id)}", body, token=ours)
            problem(answer, 404, "no-such-operation")
    assert good(calls("GET", f"{ROOT}/operations/{held.id}", token=theirs, host=OTHER_HOST))["state"] == "HELD"
    problem(calls("GET", f"{ROOT}/operations/{held.id}", token=theirs), 401)
    everything = json.dumps(good(calls("GET", f"{ROOT}/journal?limit=500", token=ours)))
    assert held.id not in everything


def test_too_many_calls_within_a_minute_are_turned_away_for_a_while(tmp_path: Path) -> None:
    with api_site(tmp_path, {"serve.api_rate": "3"}) as site, inside(site) as calls:
        site.person("eve", Role.AUDITOR)
        site.person("bob", Role.APPROVER)
        statuses = [calls("GET", f"{ROOT}/operations", token=site.token("eve")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        turned = calls("GET", f"{ROOT}/operations", token=site.token("eve"))
        assert 0 < int(turned.headers["retry-after"]) <= 60
        problem(turned, 429)
        assert calls("GET", f"{ROOT}/operations", token=site.token("bob")).status_code == 200


def test_a_session_decides_with_what_only_our_page_knows(site: ApiSite, calls: Calls) -> None:
    op = f"{ROOT}/operations/{site.held().id}"
    secret, csrf = site.session("bob")
    mine, own = site.cookie(secret), {"Origin": "http://127.0.0.1:8443"}
    body = {"typed": DIGEST[:8]}
    problem(calls("POST", f"{op}/approve", body, headers=mine), 403)
    problem(calls("POST", f"{op}/approve", body, headers={**mine, **own}), 403)
    problem(
        calls("POST", f"{op}/approve", body, headers={**mine, "Origin": "https://evil.example", "X-CSRF-Token": csrf}),
        403,
    )
    assert (
        good(calls("POST", f"{op}/approve", body, headers={**mine, **own, "X-CSRF-Token": csrf}))["state"] == "APPROVED"
    )


def test_no_secret_comes_back_or_is_written_down(site: ApiSite, calls: Calls) -> None:
    canary = "canary0token0of0a0host0that0must0never0be0seen"
    host = site.token("build-8", canary=canary)
    op = site.held().id
    token = parse_token(minted(site, calls, op)["token"])
    assert token
    answers = [
        calls("GET", f"{ROOT}/operations?after={canary}", token=host),
        calls("POST", f"{ROOT}/operations/{op}/redeem", {"token": token.text, "x": 1}, token=host),
        calls("POST", f"{ROOT}/operations/{op}/redeem", {"token": [token.text]}, token=host),
        calls("POST", f"{ROOT}/operations/{op}/redeem", {"token": token.text + "=="}, token=host),
        calls("POST", f"{ROOT}/operations/{op}/redeem", {"token": token.text}, token=host),
        calls("GET", f"{ROOT}/operations/{op}/records", token=host),
        calls("GET", f"{ROOT}/operations/{op}", token=host),
        calls("GET", f"{ROOT}/journal", token=site.token("eve")),
    ]
    for answer in answers:
        assert canary not in answer.text
        assert token.text not in answer.text
        assert token.stored not in answer.text
    for file in [one for one in site.folder.rglob("*") if one.is_file()]:
        data = file.read_bytes()
        assert canary.encode() not in data, file
        assert token.text.encode() not in data, file
