"""Cases that nobody thought of, for the API: made from its own description, sent to the real application, judged by that description."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.python import asgi

from apisites import DIGEST, EVERY_SCOPE, HOST, ApiSite, api_site
from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.web.api import document
from go_cache_safeguard.web.app import build

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
_HELD = 40


@dataclass
class Fuzzed:
    """What was sent, and what was answered."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def told(self) -> str:
        """One line."""
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{self.cases} cases ({counts})"


def fuzz(folder: Path, *, each: int, number: int) -> Fuzzed:
    """Send so many good and so many bad cases to each operation. The first fault is raised, with what was sent.

    Args:
        folder: For the state of the application.
        each: Cases of each kind and operation.
        number: What chance begins with.
    """
    load_all_checks()
    checks: Any = [CHECKS.get_one(name) for name in CHECKED]
    described = schemathesis.openapi.from_dict(document())
    fuzzed, chance = Fuzzed(), random.Random(number)  # noqa: S311 - no secret
    with api_site(folder) as site:
        tokens = _people(site)
        ops = [site.held().id for _ in range(_HELD)]
        app: Any = build(site.site)
        with asgi.get_client(app) as client:

            def send(case: Case[Any], mode: GenerationMode) -> None:
                token = chance.choice(tokens)
                if mode is GenerationMode.POSITIVE:
                    _lead_somewhere(case, ops, chance)
                headers = {"Host": HOST, **({"Authorization": f"Bearer {token}"} if token else {})}
                case.headers.pop("Authorization", None)
                case.cookies.clear()
                response = case.call(session=client, app=app, base_url=f"http://{HOST}/api/v1", headers=headers)
                fuzzed.cases += 1
                fuzzed.statuses[response.status_code] += 1
                case.validate_response(response, checks=checks)

            for found in described.get_all_operations():
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    _each(_described(found), mode, send, each, number)
    return fuzzed


def _described(found: Any) -> Any:
    """An operation, if the description of it can be understood."""
    return found.ok()


def _each(operation: Any, mode: GenerationMode, send: Any, each: int, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Case[Any]) -> None:
        send(case, mode)

    one()


def _people(site: ApiSite) -> list[str]:
    """Tokens of all kinds; none, and one that was never minted, as well."""
    site.person("build-7", Role.REQUESTER)
    site.person("bob", Role.APPROVER)
    site.person("eve", Role.AUDITOR)
    site.person("root", *Role)
    tokens = [site.token(name) for name in ("build-7", "bob", "eve", "root")]
    return [*tokens, *[tokens[-1]] * 4, site.token("root", EVERY_SCOPE - {"approve"}), "", "gcs_nobody"]


def _lead_somewhere(case: Case[Any], ops: list[str], chance: random.Random) -> None:
    """A case that names an operation that there is gets further than one that names any."""
    if "op" in case.path_parameters and chance.random() < 0.8:
        case.path_parameters["op"] = chance.choice(ops)
    if not isinstance(case.body, dict):
        return
    for name, value in (("digest", DIGEST), ("typed", DIGEST[:12]), ("op", chance.choice(ops))):
        if name in case.body and chance.random() < 0.5:
            case.body[name] = value
    if "evidence" in case.body and chance.random() < 0.8:
        case.body["evidence"] = {}
    named = case.body.get("op")
    if isinstance(named, str) and len(ops) < 10 * _HELD:
        ops.append(named)
