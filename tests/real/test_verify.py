"""`verify` against real go commands: tests, vet and debug symbols, whole and made bad on purpose."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.verdict import Outcome, Verdict
from go_cache_safeguard.flows.packages import Packages, Wanted
from go_cache_safeguard.flows.prove import Proof, Step
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.flows.symbols import Workplace
from go_cache_safeguard.flows.verify import verify
from go_cache_safeguard.tree.root import open_root
from go_cache_safeguard.verify.packages import Target
from go_cache_safeguard.verify.symbols import Held, Seen
from gocaches import PINNED, GoCache, Toolchain, copy_cache, find_toolchain

pytestmark = pytest.mark.real

UNITS = frozenset({"main", "example.com/m/lib"})
PROGRAM = """package main

type T struct{ n int }

func (t *T) Get() int { return t.n }

func gen[X any](x X) X { return x }

func main() {
	f := func() { println(gen((&T{4}).Get())) }
	f()
}
"""
FAILING = """package failing

import "testing"

func TestBad(t *testing.T) { t.Run("a b", func(t *testing.T) { t.Error("no good") }) }

func TestGood(t *testing.T) {}
"""
PANICKING = """package panicking

import "testing"

func TestPan(t *testing.T) { panic("oh") }

func TestAfter(t *testing.T) {}
"""
FLAKY = """package flaky

import (
	"os"
	"testing"
)

func TestGood(t *testing.T) {}

func TestFlaky(t *testing.T) {
	if _, err := os.Stat("seen"); err != nil {
		os.WriteFile("seen", nil, 0o600)
		t.Fatal("the first time")
	}
}
"""


def session_of(cache: GoCache, **more: str) -> Session:
    environ = cache.environ | more
    home = Path(environ["HOME"])
    arguments = {"go.command": str(cache.toolchain.go), "state.dir": str(home.parent / "state")}
    return Session(
        load_config(environ=environ, cwd=cache.module, home=home, arguments=arguments), environ, cache.module
    )


def prove(cache: GoCache, *steps: Step, wanted: Wanted | None = None, **more: str) -> Proof:
    return verify(session_of(cache, **more), cache.root, steps, wanted or Wanted())


def only(proof: Proof) -> Verdict:
    (step,) = proof.steps
    return step.verdict


def add(cache: GoCache, **files: str) -> None:
    """Add a package for each name: a test file if it holds tests."""
    for name, text in files.items():
        (cache.module / name).mkdir()
        (cache.module / name / f"{name}{'_test' if 'testing' in text else ''}.go").write_text(text)


def test_a_healthy_module_is_proved_and_nothing_is_left_in_it(fresh_cache: GoCache) -> None:
    before = sorted(fresh_cache.module.rglob("*"))
    proof = prove(fresh_cache, *(step for step in Step if step is not Step.CANARY))
    assert [step.verdict.outcome for step in proof.steps] == [Outcome.PASS] * 4, proof.evidence
    told = "\n".join(proof.steps[3].verdict.evidence)
    assert "go build -gcflags=-l example.com/m: HELD, ELF, DWARF" in told
    assert "go build example.com/m: HELD, ELF, DWARF" in told
    assert proof.steps[1].verdict.summary == "2 packages, 1 tests passed, 0 failed, 0 skipped"
    assert sorted(fresh_cache.module.rglob("*")) == before


def test_failing_panicking_and_unbuildable_tests_are_named_with_what_they_said(fresh_cache: GoCache) -> None:
    add(fresh_cache, failing=FAILING, panicking=PANICKING, unbuilt='package unbuilt\n\nfunc f() int { return "x" }\n')
    (fresh_cache.module / "unbuilt" / "a_test.go").write_text("package unbuilt\n")
    proof = prove(fresh_cache, Step.TEST)
    verdict = only(proof)
    assert verdict.outcome is Outcome.BLOCK
    told = "\n".join(verdict.evidence)
    for words in ("failing.TestBad/a_b", "no good", "panicking.TestPan", "panic: oh", "m/unbuilt", "cannot use "):
        assert words in told, told
    assert "goroutine " in str(proof.steps[0].kept["failures"])


def test_what_vet_finds_fails_the_proof(fresh_cache: GoCache) -> None:
    add(fresh_cache, vetted="package vetted\n\nfunc f(x int) int {\n\tx = x\n\treturn x\n}\n")
    verdict = only(prove(fresh_cache, Step.VET, wanted=Wanted(("./vetted",))))
    assert verdict.outcome is Outcome.BLOCK
    assert any("self-assignment of x" in line for line in verdict.evidence)


def test_a_flaky_test_is_run_again_only_when_that_was_asked_for_and_is_told(newest_cache: GoCache) -> None:
    add(newest_cache, flaky=FLAKY)
    wanted = Wanted(("./flaky",))
    assert only(prove(newest_cache, Step.TEST, wanted=wanted)).outcome is Outcome.BLOCK
    (newest_cache.module / "flaky" / "seen").unlink()
    proof = prove(newest_cache, Step.TEST, wanted=Wanted(("./flaky",), retry=2))
    assert only(proof).outcome is Outcome.WARN
    assert proof.passed
    assert any("FLAKY example.com/m/flaky TestFlaky" in line for line in proof.evidence)


def test_what_fails_again_and_again_is_not_flaky(newest_cache: GoCache) -> None:
    add(newest_cache, failing=FAILING, flaky=FLAKY)
    verdict = only(prove(newest_cache, Step.TEST, wanted=Wanted(("./failing", "./flaky"), retry=1)))
    assert verdict.outcome is Outcome.BLOCK
    assert verdict.evidence[-2:] == (
        "run again: example.com/m/failing TestBad: failed",
        "run again: example.com/m/flaky TestFlaky: passed",
    )


def test_a_test_that_hangs_is_ended_and_is_no_proof(newest_cache: GoCache) -> None:
    add(newest_cache, hanging='package hanging\n\nimport "testing"\n\nfunc TestHangs(t *testing.T) { select {} }\n')
    verdict = only(prove(newest_cache, Step.TEST, wanted=Wanted(("./hanging",), timeout_s=4)))
    assert verdict.outcome in {Outcome.BLOCK, Outcome.UNKNOWN}
    assert "hanging" in "\n".join((verdict.summary, *verdict.evidence))


def test_without_tests_and_without_packages_nothing_is_proved(newest_cache: GoCache) -> None:
    add(newest_cache, bare="package bare\n")
    bare = Wanted(("./bare",))
    for step in (Step.TEST, Step.SYMBOLS):
        assert only(prove(newest_cache, step, wanted=bare)).outcome is Outcome.UNKNOWN
    for step in (Step.TEST, Step.SYMBOLS):
        proof = prove(newest_cache, step, wanted=Wanted(("./nowhere",)))
        assert only(proof).outcome is Outcome.UNKNOWN
        assert not proof.passed


def test_stripping_by_ones_own_flags_is_recognised_and_the_rest_is_judged_without(fresh_cache: GoCache) -> None:
    (fresh_cache.module / "main.go").write_text(PROGRAM)
    proof = prove(fresh_cache, Step.SYMBOLS, GOFLAGS="-trimpath '-ldflags=-s -w -X main.x=y'")
    told = "\n".join(only(proof).evidence)
    assert proof.passed, told
    assert "go build -gcflags=-l example.com/m: HELD" in told
    assert "go build example.com/m: STRIPPED, stripped by your flags: -ldflags=-" in told


def test_a_library_is_looked_at_in_its_test_program(fresh_cache: GoCache) -> None:
    (fresh_cache.module / "main.go").unlink()
    (fresh_cache.module / "lib" / "x_test.go").write_text(
        'package lib_test\n\nimport "testing"\n\nfunc TestOutside(t *testing.T) {}\n'
    )
    told = "\n".join(only(prove(fresh_cache, Step.SYMBOLS, wanted=Wanted(("./lib",)))).evidence)
    assert "go test -c -gcflags=-l example.com/m/lib: HELD" in told
    assert ": 3 functions lead back to 3 files" in told, told


@pytest.mark.parametrize(
    ("goos", "release", "goflags"), [("windows", PINNED[-1], "-trimpath"), ("darwin", PINNED[0], "")]
)
def test_a_binary_for_another_system_is_read_too(
    warm_cache: Callable[[Toolchain], GoCache], tmp_path: Path, goos: str, release: str, goflags: str
) -> None:
    made = copy_cache(warm_cache(find_toolchain(release)), tmp_path)
    (made.module / "main.go").write_text(PROGRAM)
    cache = replace(made, environ=made.environ | {"GOOS": goos, "CGO_ENABLED": "0", "GOFLAGS": goflags})
    proof = prove(cache, Step.SYMBOLS)
    told = "\n".join(only(proof).evidence)
    assert proof.passed, told
    assert told.count(f"HELD, {'PE' if goos == 'windows' else 'Mach-O'}, DWARF") == 2
    stripped = prove(cache, Step.SYMBOLS, wanted=Wanted(flags=("-ldflags=-w",)))
    assert "STRIPPED, stripped by your flags: -ldflags=-w" in "\n".join(only(stripped).evidence)


class Bench:
    """One binary of the module, and what is seen in it."""

    def __init__(self, cache: GoCache, folder: Path) -> None:
        (cache.module / "main.go").write_text(PROGRAM)
        self.cache, self.binary = cache, folder / "program"
        # Not packed, so that harm to a section is harm to what is in it, and not only to how it is packed.
        cache.go("build", "-gcflags=-l", "-ldflags=-compressdwarf=false", "-o", str(self.binary), ".")

    def seen(self) -> Seen:
        with open_root(self.cache.root) as root:
            place = Workplace(Packages(session_of(self.cache), root, Wanted()), self.binary.parent)
            return place.seen("program", place.debug(self.binary, Target("example.com/m", test=False, units=UNITS)))

    def zero(self, section: str) -> None:
        with self.binary.open("rb") as file:
            found = ELFFile(file).get_section_by_name(section)
        assert found is not None
        with self.binary.open("r+b") as file:
            file.seek(found["sh_offset"])
            file.write(bytes(found["sh_size"]))

    @property
    def source(self) -> Path:
        return self.cache.module / "main.go"


def strip(bench: Bench) -> None:
    subprocess.run(["strip", "-g", bench.binary], check=True)


def zero_info(bench: Bench) -> None:
    bench.zero(".debug_info")


def zero_abbreviations(bench: Bench) -> None:
    bench.zero(".debug_abbrev")


def zero_lines(bench: Bench) -> None:
    bench.zero(".debug_line")


def cut_short(bench: Bench) -> None:
    os.truncate(bench.binary, bench.binary.stat().st_size // 2)


def empty(bench: Bench) -> None:
    os.truncate(bench.binary, 0)


def delete_source(bench: Bench) -> None:
    bench.source.unlink()


def shorten_source(bench: Bench) -> None:
    bench.source.write_text("package main\n\nfunc main() {}\n")


def shift_source(bench: Bench) -> None:
    bench.source.write_text(PROGRAM.replace("package main\n", "package main\n\n// One line more.\n", 1))


HARMS: list[tuple[Callable[[Bench], None], set[Held], str]] = [
    (strip, {Held.STRIPPED}, "no DWARF"),
    (zero_info, {Held.MISSING, Held.UNREADABLE}, ""),
    (zero_abbreviations, {Held.MISSING, Held.UNREADABLE}, ""),
    (zero_lines, {Held.MISSING}, "main.main: no line table"),
    (cut_short, {Held.UNREADABLE}, "cut short"),
    (empty, {Held.UNREADABLE}, ""),
    (delete_source, {Held.MISSING}, "main.go: there is no such file"),
    (shorten_source, {Held.MISSING}, "debug information speaks of line 12, and it has 3"),
    (shift_source, {Held.MISSING}, "main.(*T).Get: example.com/m/main.go:5 declares no function"),
]


def test_harm_to_a_binary_or_to_the_sources_behind_it_is_found(fresh_cache: GoCache, tmp_path: Path) -> None:
    bench = Bench(fresh_cache, tmp_path)
    whole = bench.binary.read_bytes()
    assert bench.seen().held is Held.HELD
    for harm, held, named in HARMS:
        harm(bench)
        seen = bench.seen()
        assert seen.held in held, (harm.__name__, seen)
        assert named in "\n".join((seen.summary, *seen.missing)), (harm.__name__, seen)
        bench.binary.write_bytes(whole)
        bench.source.write_text(PROGRAM)
    assert bench.seen().held is Held.HELD


def test_packed_debug_sections_are_read(newest_cache: GoCache, tmp_path: Path) -> None:
    bench = Bench(newest_cache, tmp_path)
    for kind in ("zlib-gabi", "zlib-gnu"):
        packed = tmp_path / kind
        subprocess.run(["objcopy", f"--compress-debug-sections={kind}", bench.binary, packed], check=True)
        assert packed.stat().st_size < bench.binary.stat().st_size
        shutil.move(packed, bench.binary)
        seen = bench.seen()
        assert seen.held is Held.HELD, seen


def test_a_poisoned_archive_builds_and_only_the_tests_notice(fresh_cache: GoCache) -> None:
    add(
        fresh_cache,
        use='package use\n\nimport "testing"\nimport "example.com/m/lib"\n\nfunc TestUse(t *testing.T) {\n\tif lib.Hello() != "hello" {\n\t\tt.Fatal(lib.Hello())\n\t}\n}\n',
    )
    (fresh_cache.module / "use" / "use.go").write_text("package use\n")
    fresh_cache.go("build", "./...")
    archive = fresh_cache.output_of("./lib")
    poisoned = archive.read_bytes().replace(b"hello", b"jello")
    archive.chmod(0o600)
    archive.write_bytes(poisoned)
    proof = prove(fresh_cache, Step.BUILD, Step.TEST, wanted=Wanted(("./use",)))
    assert [step.verdict.outcome for step in proof.steps] == [Outcome.PASS, Outcome.BLOCK], proof.evidence
    assert any("jello" in line for line in proof.evidence)
