"""`traces migrate-check` and `traces migrate`, as a job and as a person run them."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from go_cache_safeguard.cli.app import commands
from otherusers import NOBODY, reveal

OLD = "import opentracing\n\ntracer = opentracing.global_tracer()\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop" / "vendor").mkdir(parents=True)
    (tmp_path / "shop" / "app.py").write_text(OLD)
    (tmp_path / "shop" / "vendor" / "lib.py").write_text(OLD)
    (tmp_path / "shop" / "A.java").write_text('class A { String s = "import io.opentracing.Tracer;"; }\n')
    (tmp_path / "shop" / "linked.py").symlink_to("app.py")
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setenv("GO_CACHE_SAFEGUARD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "shop"


def run(*arguments: str, code: int) -> str:
    done = CliRunner().invoke(commands(), ["traces", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout


def test_a_job_fails_by_new_debt_only(tree: Path) -> None:
    assert "app.py:1:8" in run("migrate-check", code=10)
    run("migrate-check", "--baseline", "debt.json", "--write-baseline", code=0)
    (tree / "app.py").write_text("# moved\n\n" + OLD)
    assert "0 new, 2 known" in run("migrate-check", "--baseline", "debt.json", code=0)
    (tree / "app.py").write_text(OLD + "span = tracer.start_span('x')\n")
    told = json.loads(run("migrate-check", "--baseline", "debt.json", "--sarif", "debt.sarif", "--json", code=10))
    assert [(one["line"], one["kind"]) for one in told["findings"] if one["new"]] == [(4, "start-span")]
    results = json.loads((tree / "debt.sarif").read_text())["runs"][0]["results"]
    assert [one["baselineState"] for one in results] == ["unchanged", "unchanged", "new"]
    assert "vendor/lib.py" in run("migrate-check", "--vendor", code=10)


def test_what_cannot_be_understood_or_is_too_large_is_unknown(tree: Path) -> None:
    (tree / "app.py").write_text("x = 1\n")
    (tree / "bad.py").write_text("import os\ndef (: opentracing\n")
    (tree / "large.go").write_bytes(b"\n" * (4 << 20) + b"\n")
    told = json.loads(run("migrate-check", "--json", code=13))
    assert set(told["unknown"]) == {"bad.py", "large.go"}


def test_a_rewrite_is_shown_first_and_written_when_asked_for(tree: Path) -> None:
    (tree / "app.py").chmod(0o700)
    assert "+tracer = trace.get_tracer(__name__)" in run("migrate", ".", code=0)
    assert (tree / "app.py").read_text() == OLD
    run("migrate", ".", "--write", code=0)
    assert (tree / "app.py").read_text() == "from opentelemetry import trace\n\ntracer = trace.get_tracer(__name__)\n"
    assert (tree / "app.py").stat().st_mode & 0o777 == 0o700
    assert (tree / "linked.py").is_symlink()
    assert (tree / "vendor" / "lib.py").read_text() == OLD
    assert {path.name for path in tree.iterdir()} == {"vendor", "app.py", "A.java", "linked.py"}
    assert "0 files would be rewritten" in run("migrate", ".", code=0)


def test_what_is_left_is_named_and_fails_a_job(tree: Path) -> None:
    (tree / "app.py").write_text(OLD + "send(tracer)\n")
    assert "app.py:4: left: a tracer is handed on" in run("migrate", "app.py", "--write", code=10)
    assert (tree / "app.py").read_text() == OLD + "send(tracer)\n"


def test_a_file_that_changed_meanwhile_or_has_another_name_is_left(tree: Path) -> None:
    from go_cache_safeguard.flows.debt_rewrite import _write

    assert "changed meanwhile" in _write(tree / "app.py", b"what it was", b"new")
    assert "link" in _write(tree / "linked.py", OLD.encode(), b"new")
    (tree / "other.py").hardlink_to(tree / "app.py")
    assert "other names" in _write(tree / "app.py", OLD.encode(), b"new")
    assert (tree / "app.py").read_text() == OLD


@pytest.mark.root
def test_root_writes_as_the_owner(tree: Path) -> None:
    os.chown(tree, NOBODY, NOBODY)
    os.chown(tree / "app.py", NOBODY, NOBODY)
    reveal(tree)
    run("migrate", "app.py", "--write", code=0)
    assert (tree / "app.py").stat().st_uid == NOBODY
    os.chown(tree, 0, 0)
    (tree / "app.py").write_text(OLD)
    assert "not written" in run("migrate", "app.py", "--write", code=13)
    assert (tree / "app.py").read_text() == OLD
