"""`mod verify` against module caches that real go commands filled, whole and made bad on purpose."""

import base64
import json
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from go_cache_safeguard.cli import mod
from go_cache_safeguard.config.files import load_config
from go_cache_safeguard.core.verdict import Outcome
from go_cache_safeguard.flows.modules import Report, verify_cache, verify_module
from go_cache_safeguard.flows.session import Session
from go_cache_safeguard.gomod.dirhash import hash1
from go_cache_safeguard.gomod.layout import Version
from go_cache_safeguard.gomod.verify import Damage
from gocaches import Toolchain

pytestmark = pytest.mark.real

DEP = Version("example.com/dep", "v1.0.0")
DEEP = Version("example.com/Deep", "v0.1.0")
ALT = Version("example.com/alt", "v1.2.0")
SOURCES = {
    DEP: {
        "go.mod": f"module {DEP.path}\n\ngo 1.21\n\nrequire {DEEP.path} {DEEP.version}\n",
        "dep.go": f'package dep\n\nimport "{DEEP.path}"\n\nconst A = deep.B\n',
        "sub/sub.go": "package sub\n",
    },
    DEEP: {"go.mod": f"module {DEEP.path}\n\ngo 1.21\n", "deep.go": "package deep\n\nconst B = 2\n"},
    ALT: {
        "go.mod": f"module {ALT.path}\n\ngo 1.21\n",
        "dep.go": "package dep\n\nconst A = 3\n",
    },
}
GO_MOD = f"module example.com/m\n\ngo 1.21\n\nrequire {DEP.path} {DEP.version}\n"
MAIN = f'package main\n\nimport "{DEP.path}"\n\nfunc main() {{ println(dep.A) }}\n'


def write_zip(path: Path, version: Version, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{version}/{name}", text)


def serve(proxy: Path, version: Version) -> None:
    """Lay a module version out as a file proxy."""
    files = SOURCES[version]
    folder = (proxy / version.download("")).parent.relative_to(proxy / "cache" / "download")
    place = proxy / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "list").write_text(f"{version.version}\n")
    (place / f"{version.version}.info").write_text(json.dumps({"Version": version.version}))
    (place / f"{version.version}.mod").write_text(files["go.mod"])
    write_zip(place / f"{version.version}.zip", version, files)


@dataclass(frozen=True, slots=True)
class World:
    """A module with a module cache of its own that go filled from a file proxy."""

    toolchain: Toolchain
    root: Path

    @property
    def module(self) -> Path:
        return self.root / "m"

    @property
    def cache(self) -> Path:
        return self.root / "mod"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "GOCACHE": str(self.root / "cache"),
            "GOPATH": str(self.root / "path"),
            "GOMODCACHE": str(self.cache),
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "GOSUMDB": "off",
            "GOFLAGS": "",
            "GOENV": "off",
            "GOTELEMETRY": "off",
            "LC_ALL": "C",
        }

    def go(self, *arguments: str, cwd: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.toolchain.go, *arguments],
            cwd=cwd or self.module,
            env=self.environ | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def fetch(self, *, cwd: Path | None = None) -> None:
        """Let go download and extract what the module needs, and write go.sum."""
        online = {"GOPROXY": f"file://{self.root}/proxy", "GOFLAGS": "-mod=mod"}
        for arguments in (("mod", "tidy"), ("mod", "download", "all")):
            done = self.go(*arguments, cwd=cwd, **online)
            assert done.returncode == 0, done.stderr

    @property
    def session(self) -> Session:
        arguments = {"go.command": str(self.toolchain.go), "state.dir": str(self.root / "state")}
        config = load_config(environ=self.environ, cwd=self.module, home=self.root / "home", arguments=arguments)
        return Session(config, self.environ, self.module)

    def verify(self, directory: Path | None = None) -> Report:
        return verify_module(self.session, directory or self.module)

    def file(self, name: str) -> Path:
        """A file of the module cache, made writable."""
        path = self.cache / name
        for one in (path.parent, path):
            if one.exists():
                one.chmod(one.stat().st_mode | stat.S_IWUSR)
        return path

    def go_sum(self, edit: Callable[[str], str]) -> None:
        path = self.module / "go.sum"
        path.write_text("".join(edit(line) for line in path.read_text().splitlines(keepends=True)))


@pytest.fixture
def world(tmp_path: Path, toolchain: Toolchain) -> World:
    made = World(toolchain, tmp_path)
    for version in SOURCES:
        serve(tmp_path / "proxy", version)
    made.module.mkdir()
    (tmp_path / "home").mkdir()
    (made.module / "go.mod").write_text(GO_MOD)
    (made.module / "main.go").write_text(MAIN)
    made.fetch()
    return made


def kinds(report: Report) -> dict[str, set[str]]:
    """Kind of damage to the files that have it, module versions left out of the names."""
    found: dict[str, set[str]] = {}
    for finding in report.findings:
        found.setdefault(str(finding.damage), set()).add(finding.file.rpartition("/")[2])
    return found


def edit_tree(world: World) -> None:
    world.file(f"{DEP.tree}/dep.go").write_text("package dep\n\nconst A = 666\n")


def add_file(world: World) -> None:
    world.file(f"{DEP.tree}/evil.go").write_text("package dep\n")


def take_file_away(world: World) -> None:
    world.file(f"{DEP.tree}/sub/sub.go").unlink()


def link_in_tree(world: World) -> None:
    path = world.file(f"{DEP.tree}/dep.go")
    content = world.root / "elsewhere.go"
    content.write_text(path.read_text())
    path.unlink()
    path.symlink_to(content)


def flip_zip(world: World) -> None:
    path = world.file(DEP.download(".zip"))
    data = bytearray(path.read_bytes())
    data[len(f"{DEP}/go.mod") + 32] ^= 0x10
    path.write_bytes(data)


def empty_zip(world: World) -> None:
    world.file(DEP.download(".zip")).write_bytes(b"")


def other_zip(world: World) -> None:
    write_zip(world.file(DEP.download(".zip")), DEP, SOURCES[DEP] | {"dep.go": "package dep\n\nconst A = 666\n"})


def zip_gone(world: World) -> None:
    world.file(DEP.download(".zip")).unlink()


def hash_gone(world: World) -> None:
    world.file(DEP.download(".ziphash")).unlink()


def hash_wrong(world: World) -> None:
    world.file(DEP.download(".ziphash")).write_text(hash1([]))


def replace_together(world: World) -> None:
    edit_tree(world)
    other_zip(world)
    files = {name: (world.cache / DEP.tree / name).read_bytes() for name in SOURCES[DEP]}
    world.file(DEP.download(".ziphash")).write_text(h1_of(DEP, files))


def h1_of(version: Version, files: dict[str, bytes]) -> str:
    """Computed by the command line tools, as Go's own comment says."""
    lines = []
    for name in sorted(f"{version}/{name}" for name in files):
        said = subprocess.run(
            ["sha256sum"], input=files[name.removeprefix(f"{version}/")], capture_output=True, check=True
        )
        lines.append(f"{said.stdout.decode().split()[0]}  {name}\n")
    total = subprocess.run(["sha256sum"], input="".join(lines).encode(), capture_output=True, check=True)
    return "h1:" + base64.b64encode(bytes.fromhex(total.stdout.decode().split()[0])).decode()


def zip_gone_and_tree_edited(world: World) -> None:
    zip_gone(world)
    edit_tree(world)


def hostile_zip_with_a_hash_that_fits(world: World) -> None:
    files = {**SOURCES[DEP], "../../evil": "x"}
    write_zip(world.file(DEP.download(".zip")), DEP, files)
    digests = [(f"{DEP}/{name}".encode(), sha256(text.encode()).digest()) for name, text in files.items()]
    world.file(DEP.download(".ziphash")).write_text(hash1(digests))
    tree_gone(world)


def malformed_line(world: World) -> None:
    with (world.module / "go.sum").open("a") as file:
        file.write("two fields\n")


def delete_line(world: World) -> None:
    world.go_sum(lambda line: "" if line.startswith(f"{DEP.path} {DEP.version} ") else line)


def delete_line_of_indirect(world: World) -> None:
    world.go_sum(lambda line: "" if line.startswith(f"{DEEP.path} {DEEP.version} ") else line)


def alter_line(world: World) -> None:
    other = hash1([])
    world.go_sum(lambda line: f"{DEP.path} {DEP.version} {other}\n" if line.startswith(f"{DEP.path} v1.0.0 ") else line)


def delete_go_sum(world: World) -> None:
    (world.module / "go.sum").unlink()


def edit_mod(world: World) -> None:
    path = world.file(DEP.download(".mod"))
    path.write_text(path.read_text() + "// edited\n")


def interrupt_extraction(world: World) -> None:
    world.file(DEP.download(".partial")).write_bytes(b"")
    take_file_away(world)


def tree_gone(world: World) -> None:
    for path in (world.cache / DEP.tree, *(world.cache / DEP.tree).rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    shutil.rmtree(world.cache / DEP.tree)


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


def test_a_vendor_directory_is_said_to_be_what_go_builds_from(world: World) -> None:
    done = world.go("mod", "vendor")
    assert done.returncode == 0, done.stderr
    report = world.verify()
    assert [(finding.file, finding.damage) for finding in report.findings] == [("vendor", Damage.NOT_COVERABLE)]
    assert [verdict.outcome for verdict in report.verdicts] == [WARN, PASS]


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
