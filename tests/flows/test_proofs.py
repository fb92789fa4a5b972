"""Which proofs are made, and where their evidence goes."""

import json
from pathlib import Path

import pytest

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.evidence import keep
from go_cache_safeguard.flows.packages import Judged, Wanted
from go_cache_safeguard.flows.prove import Proof, Step, prover_for, steps_of
from go_cache_safeguard.flows.session import Session
from smallcaches import OP


@pytest.fixture
def session(tmp_path: Path) -> Session:
    arguments = {"state.dir": str(tmp_path / "state")}
    return Session(load_config(environ={}, cwd=tmp_path, home=tmp_path, arguments=arguments), {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "packages", "steps"),
    [
        ("canary", False, [Step.CANARY]),
        ("canary", True, [Step.CANARY, Step.BUILD]),
        ("none", False, []),
        ("none", True, [Step.BUILD]),
        ("symbols, test,canary", False, [Step.CANARY, Step.TEST, Step.SYMBOLS]),
        ("vet", True, [Step.VET]),
        ("", False, []),
    ],
)
def test_proofs_are_read_in_one_order_and_packages_are_built_at_least(
    text: str, steps: list[Step], *, packages: bool
) -> None:
    assert steps_of(text, packages=packages) == tuple(steps)


def test_a_proof_that_does_not_exist_is_a_usage_failure() -> None:
    with pytest.raises(UsageFailure, match="canary, build, test, vet, symbols"):
        steps_of("canary,tests", packages=False)


@pytest.mark.parametrize(
    "wanted", [Wanted(("-exec=rm",)), Wanted(("",)), Wanted(flags=("--o=x",)), Wanted(flags=("x",))]
)
def test_what_would_prove_something_else_is_a_usage_failure(wanted: Wanted) -> None:
    with pytest.raises(UsageFailure):
        prover_for((Step.TEST,), wanted)


def test_no_proof_is_made_when_none_was_asked_for() -> None:
    assert prover_for(()) is None


def test_only_what_passed_without_a_flaw_needs_no_evidence() -> None:
    def proof(*outcomes: Outcome) -> Proof:
        return Proof(passed=True, evidence=(), steps=tuple(Judged(Verdict("test", one, "")) for one in outcomes))

    assert proof(Outcome.PASS).clean
    assert Proof(passed=True, evidence=()).clean
    assert not proof(Outcome.PASS, Outcome.WARN).clean
    assert not Proof(passed=False, evidence=("nothing builds",)).clean


def test_evidence_is_kept_beside_older_evidence(session: Session, tmp_path: Path) -> None:
    judged = Judged(Verdict("test", Outcome.BLOCK, "1 failure"), {"failures": [{"test": "TestX"}]})
    proof = Proof(passed=False, evidence=("test: 1 failure",), steps=(judged,))
    paths = [Path(keep(session, OP, tmp_path, proof)) for _ in range(2)]
    assert [path.name for path in paths] == [f"{OP}.json", f"{OP}.2.json"]
    value = json.loads(paths[0].read_text())
    assert value["steps"][0]["kept"] == {"failures": [{"test": "TestX"}]}
    assert (value["op"], value["target"], value["passed"]) == (OP, str(tmp_path), False)
    assert paths[0].parent.stat().st_mode & 0o777 == 0o700


def test_evidence_that_cannot_be_kept_stands_in_nobodys_way(session: Session, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    assert keep(session, OP, tmp_path, Proof(passed=False, evidence=())).startswith("it could not be kept: ")
