"""Stories of a person with a damaged module cache, told with the command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from go_cache_safeguard.core.lifecycle import State
from go_cache_safeguard.flows.approve import approve_by_digest
from go_cache_safeguard.flows.clean import Held, resume
from go_cache_safeguard.flows.prove import Proof
from go_cache_safeguard.flows.remove import Manner
from go_cache_safeguard.flows.repair_modules import carry_out, plan_repair
from gocaches import PINNED, find_toolchain
from modcaches import DEP, World, edit_tree, make_world, replace_together

pytestmark = pytest.mark.real


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, find_toolchain(PINNED[-1]))


def run(world: World, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "go_cache_safeguard", *arguments],
        cwd=cwd or world.module,
        env={
            **world.environ,
            "PATH": f"{world.toolchain.go.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(world.root / "state"),
            "GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def documents(text: str) -> list[dict[str, Any]]:
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_a_person_finds_an_edited_module_repairs_it_and_takes_that_back(world: World) -> None:
    sound = run(world, "check", "--target", "mod", "--only", "mod-integrity")
    assert (sound.returncode, sound.stdout.split()[:2]) == (0, ["PASS", "mod-integrity"]), sound.stderr
    edit_tree(world)
    assert run(world, "check", "--only", "mod-integrity").returncode == 10
    shown = run(world, "mod", "verify", "--no-go", "--repair", "--dry-run")
    assert shown.returncode == 0
    assert f"go mod download {DEP}  # extracts it again from the zip" in shown.stdout
    assert (world.cache / DEP.tree).exists(), "nothing was moved yet"
    done = run(world, "mod", "verify", "--no-go", "--repair", "--json")
    assert done.returncode == 0, done.stderr
    verified, planned, receipt = documents(done.stdout)
    assert [item["name"] for item in planned["items"]] == [DEP.tree]
    assert (verified["findings"][0]["damage"], receipt["state"]) == ("edited-file", "DONE")
    assert not (world.cache / DEP.tree).exists()
    undone = run(world, "undo", receipt["op"])
    assert undone.returncode == 0, undone.stderr
    assert (world.cache / DEP.tree / "dep.go").read_text().endswith("666\n")


def test_where_there_is_no_module_the_answer_is_not_known_and_ids_of_the_other_target_are_refused(world: World) -> None:
    assert run(world, "check", "--target", "mod", cwd=world.root).returncode == 13
    refused = run(world, "check", "--target", "build", "--only", "mod-integrity")
    assert (refused.returncode, "no check of --target build" in refused.stderr) == (2, True)


def test_modules_are_registered_listed_and_forgotten(world: World) -> None:
    assert run(world, "mod", "register").returncode == 0
    assert str(world.module) in run(world, "mod", "registered").stdout
    told = json.loads(run(world, "mod", "verify", "--whole-cache", "--json").stdout)
    assert told["totals"]["unpinned"] == 0
    assert run(world, "mod", "forget").returncode == 0
    assert json.loads(run(world, "mod", "registered", "--json").stdout)["directories"] == []


def test_a_repair_that_policy_holds_is_carried_out_when_somebody_has_approved_it(world: World) -> None:
    replace_together(world)
    session = world.session_with({"policy.hold_share": "1%", "approval.self": "always"})
    repair = plan_repair(session, world.verify())
    with pytest.raises(Held):
        carry_out(session, repair)
    with session.journal() as journal:
        (operation,) = journal.operations()
        approve_by_digest(session, journal, operation.id, repair.plan.digest)

    def never(*_arguments: object) -> Proof:
        raise AssertionError("nothing is built in a module cache")

    receipt = resume(session, operation.id, Manner(wait_s=0, prover=never))
    assert (receipt.state, receipt.moved) == (State.DONE, 3)
