"""One file of real repositories is changed through git: others push meanwhile, links, odd trees, no forcing, nothing run."""

import os
from pathlib import Path

import pytest

from boardrepositories import git, push, readme, repository
from go_cache_safeguard.flows.board_git import Clone, GitAway, environ
from guardproxy import wait_until


def clone(folder: Path, bare: Path) -> Clone:
    return Clone(folder / "clones", str(bare), "main")


def test_a_file_is_changed_in_one_commit_and_everything_else_stays(tmp_path: Path) -> None:
    bare = repository(tmp_path)
    before = git(bare, "ls-tree", "-r", "main")
    done = clone(tmp_path, bare).change("README.md", lambda old: b"board\n" + old, "Board: red")
    assert readme(bare) == "board\n# Pay"
    assert git(bare, "rev-parse", "main") == done.commit
    assert git(bare, "log", "-1", "--format=%s %an") == "Board: red go-cache-safeguard"
    after = git(bare, "ls-tree", "-r", "main")
    assert [line for line in after.splitlines() if "README" not in line] == [
        line for line in before.splitlines() if "README" not in line
    ]
    assert clone(tmp_path, bare).change("README.md", lambda _: None, "no").commit == ""
    assert clone(tmp_path, bare).change("README.md", lambda old: old, "no").commit == ""
    assert git(bare, "rev-parse", "main") == done.commit


def test_what_somebody_pushes_meanwhile_is_kept_and_ours_comes_on_top(tmp_path: Path) -> None:
    bare = repository(tmp_path)
    (tmp_path / "work" / "README.md").write_text("# Pay, by a person\n")
    pushed: list[int] = []

    def edit(old: bytes) -> bytes:
        if not pushed:
            push(tmp_path / "work", bare, "faster")
            pushed.append(1)
        return b"board\n" + old

    done = clone(tmp_path, bare).change("README.md", edit, "Board")
    assert done.tries == 2
    assert readme(bare) == "board\n# Pay, by a person"
    assert git(bare, "log", "--format=%s", "main").split("\n") == ["Board", "faster", "first"]


def test_who_is_always_slower_gives_up_and_forces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = repository(tmp_path)
    monkeypatch.setattr("go_cache_safeguard.flows.board_git.TRIES", 2)
    number = iter(range(9))

    def edit(old: bytes) -> bytes:
        (tmp_path / "work" / "other").write_text(str(next(number)))
        push(tmp_path / "work", bare, "faster")
        return b"board\n" + old

    with pytest.raises(GitAway, match="others were faster"):
        clone(tmp_path, bare).change("README.md", edit, "Board")
    assert git(bare, "log", "--format=%s", "main").split("\n") == ["faster", "faster", "first"]


def test_a_readme_of_other_capitals_is_the_readme_and_without_one_it_is_made(tmp_path: Path) -> None:
    bare = repository(tmp_path, None)
    clone(tmp_path, bare).change("README.md", lambda old: b"new" + old, "Board")
    assert readme(bare) == "new"
    git(bare, "config", "receive.denyDeletes", "true")
    work = tmp_path / "work"
    git(work, "fetch", "--quiet", str(bare), "main")
    git(work, "reset", "--hard", "--quiet", "FETCH_HEAD")
    git(work, "mv", "README.md", "Readme.md")
    push(work, bare, "renamed")
    clone(tmp_path, bare).change("README.md", lambda old: b"board " + old, "Board")
    assert git(bare, "show", "main:Readme.md") == "board new"
    assert "README.md" not in git(bare, "ls-tree", "--name-only", "main")


def test_a_link_is_never_followed_and_a_branch_that_is_not_there_never_made(tmp_path: Path) -> None:
    bare = repository(tmp_path, None)
    (tmp_path / "work" / "README.md").symlink_to("/etc/passwd")
    push(tmp_path / "work", bare, "link")
    with pytest.raises(GitAway, match="a link or a folder"):
        clone(tmp_path, bare).change("README.md", lambda _: b"x", "Board")
    with pytest.raises(GitAway, match="other"):
        Clone(tmp_path / "clones", str(bare), "other").fetch()
    with pytest.raises(GitAway, match="nowhere"):
        Clone(tmp_path / "clones", str(tmp_path / "nowhere"), "main").fetch()


def test_a_server_that_refuses_is_heard_and_our_own_settings_run_no_hook(tmp_path: Path) -> None:
    bare = repository(tmp_path)
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'this branch is protected' >&2; exit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitAway, match=r"pre-receive hook declined|protected|failed to push"):
        clone(tmp_path, bare).change("README.md", lambda _: b"x", "Board")
    ours = clone(tmp_path, bare).path
    assert not (ours / "hooks").exists()
    assert "secret" not in " ".join(environ())


def test_a_repository_that_does_not_answer_is_given_up_and_nothing_is_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("go_cache_safeguard.flows.board_git.WAIT_S", 1)
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(GitAway, match="took longer than 1 s"):
        Clone(tmp_path / "clones", "ssh://git@git.invalid/pay.git", "main").fetch()
    pid = int((tmp_path / "pid").read_text())
    wait_until("ssh has ended", lambda: not Path(f"/proc/{pid}").exists())
