"""The checks and the canary proof against real go commands, on sound caches and on caches made bad on purpose."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.gocache.checks import index_agreement, permissions, reuse
from go_cache_safeguard.gocache.checks.index_agreement import Asked, IndexFacts, Listing, list_args, parse_listing
from go_cache_safeguard.gocache.checks.reuse import ReuseFacts
from go_cache_safeguard.gocache.survey import survey
from go_cache_safeguard.gotool.actiongraph import parse_action_graph
from go_cache_safeguard.gotool.complaint import printable
from go_cache_safeguard.gotool.run import Go
from go_cache_safeguard.gotool.trial import Built, Trial, build_args, make_trial, trial_environment
from go_cache_safeguard.verify import canary
from go_cache_safeguard.verify.canary import ProgramRun, Proof, Proved
from gocaches import PINNED, GoCache, Toolchain, at

pytestmark = pytest.mark.real


@dataclass(frozen=True, slots=True)
class Bench:
    """A throw-away module on disk and the cache that it is built with."""

    cache: GoCache
    trial: Trial
    folder: Path

    def build(self, name: str) -> Built:
        graph = self.folder / f"{name}.json"
        go = Go(self.cache.toolchain.go, environ=self.cache.environ)
        ran = go.run(
            build_args(graph=graph, output=self.folder / name),
            cwd=self.folder / "trial",
            extra_env=trial_environment(self.cache.root, flags=self.cache.environ["GOFLAGS"]),
        )
        actions = parse_action_graph(graph.read_bytes() if graph.exists() else b"")
        return Built(ran.exit_code, printable(ran.stderr), actions, ran.cpu_ns)

    def program(self, name: str) -> ProgramRun:
        go = Go(self.cache.toolchain.go, environ=self.cache.environ)
        ran = go.run_program(self.folder / name, cwd=self.folder, timeout_s=60)
        return ProgramRun(ran.exit_code, printable(ran.stderr))

    def prove(self, first: Built, second: Built) -> Proof:
        return canary.judge(self.trial, first=first, second=second, run=self.program("second"))


def bench(cache: GoCache, folder: Path) -> Bench:
    trial = make_trial(secrets.token_hex(8))
    for name, content in trial.files.items():
        path = folder / "trial" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Bench(cache, trial, folder)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@contextmanager
def tiny_disk(path: Path, size: str) -> Iterator[None]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_sound_cache_gives_back_what_it_was_given(fresh_cache: GoCache, tmp_path: Path) -> None:
    made = bench(fresh_cache, tmp_path)
    first, second = made.build("first"), made.build("second")
    verdict = reuse.judge(ReuseFacts(first, second))
    assert verdict.outcome is Outcome.PASS, verdict
    assert made.prove(first, second).outcome is Proved.PASSED


def test_building_to_the_same_output_would_prove_nothing_and_is_noticed(fresh_cache: GoCache, tmp_path: Path) -> None:
    made = bench(fresh_cache, tmp_path)
    first, again = made.build("first"), made.build("first")
    assert reuse.judge(ReuseFacts(first, again)).outcome is Outcome.UNKNOWN


@pytest.mark.root
def test_a_read_only_cache_keeps_nothing_and_blocks(fresh_cache: GoCache, tmp_path: Path) -> None:
    made = bench(fresh_cache, tmp_path)
    with read_only(fresh_cache.root):
        first = made.build("first")
        second = made.build("second") if first.exit_code == 0 else None
        verdict = reuse.judge(ReuseFacts(first, second))
        assert verdict.outcome is Outcome.BLOCK, verdict
        fd = os.open(fresh_cache.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            facts = survey(fd, fresh_cache.root, uid=os.geteuid())
        finally:
            os.close(fd)
        assert permissions.judge(facts).outcome is Outcome.BLOCK


@pytest.mark.root
@pytest.mark.parametrize("toolchain", PINNED, indirect=True)
def test_a_cache_that_drops_what_it_is_given_blocks(toolchain: Toolchain, tmp_path: Path) -> None:
    """On a disk that is too small go ends with exit code 0 and keeps nothing, or from time to time says so."""
    cache = at(tmp_path, toolchain)
    with tiny_disk(cache.root, "400k"):
        made = bench(cache, tmp_path)
        first = made.build("first")
        second = made.build("second") if first.exit_code == 0 else None
        verdict = reuse.judge(ReuseFacts(first, second))
    assert verdict.outcome is Outcome.BLOCK, verdict


def test_a_build_that_fails_for_another_reason_is_unknown(fresh_cache: GoCache, tmp_path: Path) -> None:
    made = bench(fresh_cache, tmp_path)
    (tmp_path / "trial/main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    verdict = reuse.judge(ReuseFacts(made.build("first"), None))
    assert verdict.outcome is Outcome.UNKNOWN, verdict
    assert any("undefined" in line for line in verdict.evidence)


def test_a_cache_whose_archive_was_zeroed_fails_the_proof(fresh_cache: GoCache, tmp_path: Path) -> None:
    made = bench(fresh_cache, tmp_path)
    before = set(fresh_cache.root.glob("??/*-d"))
    first = made.build("first")
    for path in set(fresh_cache.root.glob("??/*-d")) - before:
        if path.is_file() and path.read_bytes().startswith(b"!<arch>"):
            path.write_bytes(bytes(path.stat().st_size))
    second = made.build("second")
    assert second.exit_code, "go must have noticed"
    proof = canary.judge(made.trial, first=first, second=second, run=None)
    assert proof.outcome is Proved.FAILED, second.said
    assert reuse.judge(ReuseFacts(first, second)).outcome is Outcome.BLOCK


def test_an_output_that_was_taken_away_is_compiled_again_and_fails_the_proof(
    fresh_cache: GoCache, tmp_path: Path
) -> None:
    made = bench(fresh_cache, tmp_path)
    before = set(fresh_cache.root.glob("??/*-a"))
    first = made.build("first")
    for path in set(fresh_cache.root.glob("??/*-a")) - before:
        path.write_bytes(b"")
    second = made.build("second")
    assert made.prove(first, second).outcome is Proved.FAILED
    assert reuse.judge(ReuseFacts(first, second)).outcome is Outcome.BLOCK


def ask(cache: GoCache, what: str, pattern: str, folder: Path) -> Asked:
    def listing(**more: str) -> Listing:
        ran = Go(cache.toolchain.go, environ=cache.environ).run(list_args(pattern), cwd=folder, extra_env=more)
        return Listing(ran.exit_code, printable(ran.stderr), parse_listing(ran.stdout))

    return Asked(what, listing(), listing(**index_agreement.without_index("")))


def old_module(folder: Path) -> Path:
    """A module whose files are old enough for an index: go makes none for files younger than two seconds."""
    (folder / "go.mod").parent.mkdir()
    (folder / "go.mod").write_text("module example.com/poison\n\ngo 1.21\n")
    (folder / "a.go").write_text('package a\n\nimport _ "strings"\n')
    for path in (folder / "go.mod", folder / "a.go", folder):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def test_the_index_of_a_sound_cache_agrees_with_the_source(fresh_cache: GoCache, tmp_path: Path) -> None:
    module = old_module(tmp_path / "poison")
    facts = IndexFacts((ask(fresh_cache, "std", "std", module), ask(fresh_cache, str(module), "./...", module)))
    verdict = index_agreement.judge(facts)
    assert verdict.outcome is Outcome.PASS, verdict


def test_an_index_poisoned_by_an_edit_that_keeps_size_and_time_is_found(fresh_cache: GoCache, tmp_path: Path) -> None:
    module = old_module(tmp_path / "poison")
    fresh_cache_listing = ask(fresh_cache, str(module), "./...", module)
    assert index_agreement.judge(IndexFacts((fresh_cache_listing,))).outcome is Outcome.PASS
    (module / "a.go").write_text('package a\n\nimport _ "reflect"\n')
    for path in (module / "a.go", module):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    verdict = index_agreement.judge(IndexFacts((ask(fresh_cache, str(module), "./...", module),)))
    assert verdict.outcome is Outcome.BLOCK
    assert verdict.evidence == (
        "example.com/poison: Imports is ['strings'] in the index and ['reflect'] in the source",
    )
    subprocess.run(verdict.remedy[0], shell=True, check=True)  # noqa: S602 - the remedy is meant for a shell
    assert index_agreement.judge(IndexFacts((ask(fresh_cache, str(module), "./...", module),))).outcome is Outcome.PASS


def test_a_sound_cache_passes_the_permission_check(fresh_cache: GoCache) -> None:
    fd = os.open(fresh_cache.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        facts = survey(fd, fresh_cache.root, uid=os.geteuid())
    finally:
        os.close(fd)
    assert permissions.judge(facts).outcome is Outcome.PASS
    assert facts.entries == len(list(fresh_cache.root.glob("??/*")))
