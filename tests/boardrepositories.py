"""Real repositories with a README, and a person who pushes to them as well."""

import subprocess
from pathlib import Path

from go_cache_safeguard.flows.board_git import environ

ENVIRON = {**environ(), "HOME": "/nonexistent"}


def git(at: Path, *arguments: str) -> str:
    """Run git there, as nobody in particular."""
    done = subprocess.run(["git", "-C", str(at), *arguments], env=ENVIRON, capture_output=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout.decode().strip()


def repository(folder: Path, readme: bytes | None = b"# Pay\n") -> Path:
    """A bare repository with a commit, and a work tree of a person beside it."""
    bare, work = folder / "pay.git", folder / "work"
    git(folder, "init", "--quiet", "--bare", "-b", "main", str(bare))
    git(folder, "init", "--quiet", "-b", "main", str(work))
    (work / "src").mkdir()
    (work / "src" / "main.go").write_text("package main\n")
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    (work / ".gitattributes").write_text("*.md text eol=crlf filter=evil\n")
    if readme is not None:
        (work / "README.md").write_bytes(readme)
    push(work, bare, "first")
    return bare


def push(work: Path, bare: Path, message: str) -> None:
    """Commit everything and push it, as a person."""
    git(work, "-c", "core.autocrlf=false", "-c", "filter.evil.clean=cat", "add", "--all")
    git(work, "commit", "--quiet", "-m", message)
    git(work, "push", "--quiet", str(bare), "HEAD:refs/heads/main")


def readme(bare: Path) -> str:
    """What is pushed by now."""
    return git(bare, "show", "main:README.md")
