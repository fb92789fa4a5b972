"""`mod verify` against module caches that real go commands filled, whole and made bad on purpose."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from go_cache_safeguard.cli import mod
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.modules import Report, verify_cache
from go_cache_safeguard.flows.registered import forget, register, registered
from go_cache_safeguard.gomod.verify import Damage
from gocaches import GoCache, Toolchain, copy_cache
from modcaches import (
    ALT,
    DEEP,
    DEP,
    GO_MOD,
    MAIN,
    SOURCES,
    World,
    add_file,
    alter_line,
    copy_world,
    delete_go_sum,
    delete_line,
    delete_line_of_indirect,
    edit_mod,
    edit_tree,
    empty_zip,
    flip_zip,
    h1_of,
    hash_gone,
    hash_wrong,
    hostile_zip_with_a_hash_that_fits,
    interrupt_extraction,
    link_in_tree,
    make_world,
    malformed_line,
    other_zip,
    replace_together,
    take_file_away,
    tree_gone,
    zip_gone,
    zip_gone_and_tree_edited,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, toolchain: Toolchain) -> World:
    return make_world(tmp_path_factory.mktemp("world"), toolchain)


@pytest.fixture
def world(tmp_path: Path, template: World) -> World:
    return copy_world(template, tmp_path)


def kinds(report: Report) -> dict[str, set[str]]:
    """Kind of damage to the files that have it, module versions left out of the names."""
    found: dict[str, set[str]] = {}
    for finding in report.findings:
        found.setdefault(str(finding.damage), set()).add(finding.file.rpartition("/")[2])
    return found


BLOCK, WARN, PASS = Outcome.BLOCK, Outcome.WARN, Outcome.PASS
DAMAGES: list[tuple[Callable[[World], None], Outcome, dict[str, set[str]], Outcome]] = [
    (edit_tree, BLOCK, {"edited-file": {"dep.go"}}, BLOCK),
    (add_file, BLOCK, {"extra-file": {"evil.go"}}, BLOCK),
    (take_file_away, BLOCK, {"missing-file": {"sub.go"}}, BLOCK),
    (link_in_tree, BLOCK, {"not-a-regular-file": {"dep.go"}, "missing-file": {"dep.go"}}, PASS),
    (flip_zip, BLOCK, {"zip-damaged": {"v1.0.0.zip"}}, BLOCK),
    (empty_zip, BLOCK, {"zip-damaged": {"v1.0.0.zip"}}, BLOCK),
    (other_zip, BLOCK, {"zip-changed": {"v1.0.0.zip"}}, BLOCK),
    (
        zip_gone_and_tree_edited,
        BLOCK,
        {"zip-missing": {"v1.0.0.zip"}, "tree-changed": {"dep@v1.0.0"}},
        BLOCK,
    ),
    (
        hostile_zip_with_a_hash_that_fits,
        BLOCK,
        {"zip-damaged": {"evil"}, "hash-file-wrong": {"v1.0.0.ziphash"}},
        PASS,
    ),
    (zip_gone, WARN, {"zip-missing": {"v1.0.0.zip"}}, PASS),
    (hash_gone, WARN, {"hash-file-missing": {"v1.0.0.ziphash"}}, WARN),
    (hash_wrong, BLOCK, {"hash-file-wrong": {"v1.0.0.ziphash"}}, BLOCK),
    (
        replace_together,
        BLOCK,
        {"hash-file-wrong": {"v1.0.0.ziphash"}, "go-sum-mismatch": {"v1.0.0.zip", "dep@v1.0.0"}},
        PASS,
    ),
    (delete_line, BLOCK, {"go-sum-line-missing": {"go.sum"}}, PASS),
    (delete_line_of_indirect, WARN, {"go-sum-line-missing": {"go.sum"}}, PASS),
    (
        alter_line,
        BLOCK,
        {
            "hash-file-wrong": {"v1.0.0.ziphash"},
            "go-sum-mismatch": {"v1.0.0.zip", "dep@v1.0.0"},
        },
        PASS,
    ),
    (delete_go_sum, BLOCK, {"go-sum-line-missing": {"go.sum"}}, PASS),
    (edit_mod, BLOCK, {"go-sum-mismatch": {"v1.0.0.mod"}}, BLOCK),
    (interrupt_extraction, WARN, {"tree-partial": {"dep@v1.0.0"}}, PASS),
    (tree_gone, PASS, {}, PASS),
]


def state(world: World) -> dict[str, tuple[int, int, int]]:
    """Times and sizes of everything that must not change."""
    found = {str(path): path.stat() for path in (world.root, *world.cache.rglob("*"), *world.module.rglob("*"))}
    return {path: (one.st_mtime_ns, one.st_ctime_ns, one.st_size) for path, one in found.items()}


def test_a_module_that_go_fetched_passes_and_nothing_is_changed(world: World) -> None:
    before = state(world)
    report = world.verify()
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, PASS], report
    assert (report.totals.zips, report.totals.trees, report.totals.unpinned) == (2, 2, 0)
    assert "all modules verified" in report.verdicts[1].summary
    assert state(world) == before


def test_our_hash_is_the_one_that_go_wrote_into_go_sum_and_the_one_of_the_command_line_tools(world: World) -> None:
    said = (world.module / "go.sum").read_text()
    for version in (DEP, DEEP):
        files = {name: text.encode() for name, text in SOURCES[version].items()}
        assert f"{version.path} {version.version} {h1_of(version, files)}\n" in said


@pytest.mark.parametrize(("tamper", "outcome", "found", "by_go"), DAMAGES, ids=lambda one: getattr(one, "__name__", ""))
def test_damage_is_named_and_go_says_what_the_page_says(
    world: World, tamper: Callable[[World], None], outcome: Outcome, found: dict[str, set[str]], by_go: Outcome
) -> None:
    tamper(world)
    report = world.verify()
    assert kinds(report) == found, report.findings
    assert report.verdicts[0].outcome is outcome
    assert report.verdicts[1].outcome is by_go, report.verdicts[1]


def test_a_line_of_go_sum_that_is_none_is_named_although_go_1_21_overlooks_it(world: World) -> None:
    malformed_line(world)
    report = world.verify()
    assert (kinds(report), report.verdicts[0].outcome) == ({"go-sum-malformed": {""}}, BLOCK)
    assert report.verdicts[1].outcome is (PASS if world.toolchain.release == 21 else Outcome.UNKNOWN)


@pytest.mark.parametrize(("tamper", "named"), [(edit_tree, {"dep.go"}), (replace_together, None)])
def test_the_whole_cache_is_verified_with_and_without_a_go_sum(
    world: World, tamper: Callable[[World], None], named: set[str] | None
) -> None:
    assert verify_cache(world.session, []).verdicts[0].outcome is PASS
    sound = verify_cache(world.session, [world.module])
    assert [verdict.outcome for verdict in sound.verdicts] == [PASS, PASS]
    assert (sound.totals.versions, sound.totals.unpinned) == (2, 0)
    tamper(world)
    alone, bound = verify_cache(world.session, []), verify_cache(world.session, [world.module])
    assert bound.verdicts[0].outcome is BLOCK
    if named is None:  # nothing but a go.sum can know
        assert alone.verdicts[0].outcome is PASS
        assert alone.totals.unpinned == 2
        assert "go-sum-mismatch" in kinds(bound)
    else:
        assert kinds(alone) == kinds(bound) == {"edited-file": named}


def test_a_replacement_by_another_version_is_verified_and_the_original_is_not(world: World) -> None:
    with (world.module / "go.mod").open("a") as file:
        file.write(f"\nreplace {DEP.path} => {ALT.path} {ALT.version}\n")
    world.fetch()
    edit_tree(world)
    report = world.verify()
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, WARN], "go looks at the original"
    assert any("the original is not used" in note for note in report.notes)
    world.file(f"{ALT.tree}/dep.go").write_text("package dep\n\nconst A = 666\n")
    report = world.verify()
    assert {(finding.module, finding.damage) for finding in report.findings} == {(ALT.path, Damage.EDITED)}
    assert report.verdicts[0].outcome is BLOCK
    assert all(ALT.path not in line for line in report.verdicts[1].evidence), "go does not look at the replacement"


def test_a_replacement_by_a_directory_cannot_be_covered(world: World) -> None:
    shutil.copytree(world.cache / DEP.tree, world.root / "local", copy_function=shutil.copyfile)
    with (world.module / "go.mod").open("a") as file:
        file.write(f"\nreplace {DEP.path} => ../local\n")
    world.fetch()
    report = world.verify()
    assert [(finding.module, finding.file, finding.damage) for finding in report.findings] == [
        (DEP.path, "../local", Damage.NOT_COVERABLE)
    ]
    assert [verdict.outcome for verdict in report.verdicts] == [WARN, PASS]


def test_a_workspace_is_bound_by_the_go_sum_of_each_module(world: World) -> None:
    other = world.root / "other"
    other.mkdir()
    (other / "go.mod").write_text(GO_MOD.replace("/m\n", "/other\n"))
    (other / "main.go").write_text(MAIN)
    world.fetch(cwd=other)
    (world.root / "go.work").write_text("go 1.21\n\nuse (\n\t./m\n\t./other\n)\n")
    report, bound = world.verify(), verify_cache(world.session, [world.module])
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, PASS], report
    assert {Path(name).parent.name for name in report.sums} == {"m", "other"}
    assert bound.sums == report.sums
    replace_together(world)
    assert world.verify().verdicts[0].outcome is BLOCK


def test_in_a_workspace_nothing_is_changed_although_go_would_write_go_work_sum(world: World) -> None:
    (world.root / "go.work").write_text(f"go 1.21\n\nuse ./m\n\nreplace {DEP.path} => {ALT.path} {ALT.version}\n")
    world.go("mod", "download", "all", GOPROXY=f"file://{world.root}/proxy")
    (world.root / "go.work.sum").unlink(missing_ok=True)
    delete_go_sum(world)
    before = state(world)
    report = world.verify()
    assert state(world) == before
    assert not (world.root / "go.work.sum").exists()
    assert (kinds(report), report.verdicts[0].outcome) == ({"go-sum-line-missing": {"go.sum"}}, BLOCK)
    assert ALT.path in {finding.module for finding in report.findings}


def test_in_a_workspace_an_edited_go_mod_file_is_named_although_go_computes_no_build_list(world: World) -> None:
    (world.root / "go.work").write_text("go 1.21\n\nuse ./m\n")
    edit_mod(world)
    found = kinds(world.verify())
    assert "v1.0.0.mod" in found["go-sum-mismatch"]


@pytest.fixture
def vendored(world: World) -> World:
    """The module with a vendor directory, in which an embedded file and a license lie, and none of the tests and ignored files."""
    done = world.go("mod", "vendor")
    assert done.returncode == 0, done.stderr
    return world


def vendor_findings(world: World) -> list[tuple[str, Damage, Outcome]]:
    return [(one.file, one.damage, one.outcome) for one in world.verify().findings]


def test_what_go_vendored_passes_and_what_is_compared_is_said(vendored: World) -> None:
    report = vendored.verify()
    assert [verdict.outcome for verdict in report.verdicts] == [PASS, PASS], report
    assert any("files of 2 modules; go builds from them and never compares them" in note for note in report.notes)


def test_what_was_changed_in_a_vendor_directory_is_named_although_go_builds_it(
    vendored: World, toolchain: Toolchain, warm_cache: Callable[[Toolchain], GoCache]
) -> None:
    folder = vendored.module / "vendor" / DEP.path
    (folder / "dep.go").write_text(SOURCES[DEP]["dep.go"].replace("deep.B", "deep.B + 1"))
    (folder / "evil.go").write_text("package dep\n")
    (vendored.module / "vendor" / DEEP.path / "deep.go").unlink()
    (vendored.module / "vendor" / "stray").write_text("x")
    report = vendored.verify()
    assert {(one.file, str(one.damage)) for one in report.findings} == {
        (f"vendor/{DEP.path}/dep.go", "edited-file"),
        (f"vendor/{DEP.path}/evil.go", "extra-file"),
        (f"vendor/{DEEP.path}/deep.go", "missing-file"),
        ("vendor/stray", "extra-file"),
    }
    assert [verdict.outcome for verdict in report.verdicts] == [BLOCK, PASS], "go mod verify does not look at vendor"
    (vendored.module / "vendor" / DEEP.path / "deep.go").write_text(SOURCES[DEEP]["deep.go"])
    warm = copy_cache(warm_cache(toolchain), vendored.root / "warm")
    done = vendored.go("build", "-o", os.devnull, ".", GOCACHE=f"{warm.root}", GOFLAGS=warm.environ["GOFLAGS"])
    assert done.returncode == 0, "go builds what was edited"


def test_a_list_of_vendored_modules_that_does_not_fit_go_mod_is_named_in_the_words_of_go(vendored: World) -> None:
    path = vendored.module / "vendor" / "modules.txt"
    path.write_text(path.read_text().replace("## explicit; go 1.21\n", "", 1))
    assert {(file, damage) for file, damage, _ in vendor_findings(vendored)} == {
        ("vendor/modules.txt", Damage.VENDOR_INCONSISTENT)
    }


def test_without_the_modules_a_vendor_directory_is_not_covered_and_never_passed(vendored: World) -> None:
    tree_gone(vendored)
    zip_gone(vendored)
    found = vendor_findings(vendored)
    assert (f"vendor/{DEP.path}", Damage.NOT_COVERABLE, Outcome.UNKNOWN) in found
    assert vendored.verify().verdicts[0].outcome is Outcome.UNKNOWN


def test_a_copy_in_the_cache_that_is_bad_itself_proves_no_vendor_directory(vendored: World) -> None:
    edit_tree(vendored)
    assert vendor_findings(vendored) == [(f"{DEP.tree}/dep.go", Damage.EDITED, BLOCK)], "the zip is sound"
    other_zip(vendored)
    assert (f"vendor/{DEP.path}", Damage.NOT_COVERABLE, Outcome.UNKNOWN) in vendor_findings(vendored)


def test_a_vendored_directory_that_replaces_a_module_is_not_covered(world: World) -> None:
    shutil.copytree(world.cache / DEP.tree, world.root / "local", copy_function=shutil.copyfile)
    with (world.module / "go.mod").open("a") as file:
        file.write(f"\nreplace {DEP.path} => ../local\n")
    world.fetch()
    assert world.go("mod", "vendor").returncode == 0
    assert (f"vendor/{DEP.path}", Damage.NOT_COVERABLE, WARN) in vendor_findings(world)


def test_a_build_list_that_cannot_be_computed_offline_is_unknown_and_what_go_sum_names_is_still_verified(
    world: World,
) -> None:
    world.file(DEEP.download(".mod")).unlink()
    assert world.verify().verdicts[0].outcome is Outcome.UNKNOWN
    edit_tree(world)
    report = world.verify()
    assert {Damage.NO_BUILD_LIST, Damage.EDITED} <= {finding.damage for finding in report.findings}


def test_a_file_that_cannot_be_read_as_one_is_unknown_and_never_passed(world: World) -> None:
    path = world.file(DEP.download(".ziphash"))
    path.unlink()
    path.mkdir()
    report = world.verify()
    assert kinds(report) == {"unreadable": {"v1.0.0.ziphash"}}
    assert report.verdicts[0].outcome is Outcome.UNKNOWN


def test_the_command_prints_one_document_and_its_exit_code_says_the_worst(world: World) -> None:
    def command(*arguments: str) -> tuple[int, str]:
        settings = ("--set", f"go.command={world.toolchain.go}", "--state-dir", str(world.root / "state"))
        environ: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("GO"))
        done = CliRunner().invoke(mod.app, ["verify", *arguments, *settings], env={**environ, **world.environ})
        return done.exit_code, done.stdout

    code, said = command(str(world.module), "--json")
    document = json.loads(said)
    assert (code, document["schema"], document["findings"]) == (0, "go-cache-safeguard/mod-verify/1", [])
    edit_tree(world)
    code, said = command(str(world.module), "--json")
    assert (code, json.loads(said)["findings"][0]["file"]) == (10, f"{DEP.tree}/dep.go")
    code, said = command("--whole-cache", "--against", str(world.module))
    assert code == 10
    assert "edited-file example.com/dep@v1.0.0" in said


def test_the_whole_cache_is_compared_with_every_registered_module(world: World) -> None:
    assert verify_cache(world.session, None).totals.unpinned == 2
    assert register(world.session, world.module)
    assert not register(world.session, world.module), "it is already"
    assert registered(world.session) == (world.module,)
    replace_together(world)
    bound = verify_cache(world.session, None)
    assert (bound.totals.unpinned, bound.verdicts[0].outcome) == (0, BLOCK)
    assert verify_cache(world.session, []).verdicts[0].outcome is PASS
    moved = world.module.rename(world.root / "elsewhere")
    away = verify_cache(world.session, None)
    assert {(one.module, one.outcome) for one in away.findings} == {(str(world.module), Outcome.UNKNOWN)}
    moved.rename(world.module)
    assert forget(world.session, world.module)
    assert not forget(world.session, world.module)
    assert registered(world.session) == ()
