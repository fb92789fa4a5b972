"""The command itself, started as a person or a job would start it, for tests of whole stories."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from codecs import getincrementaldecoder
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gocaches import GoCache

COMMAND = (sys.executable, "-m", "go_cache_safeguard")


@dataclass(frozen=True, slots=True)
class Safeguard:
    """The command with a cache, a state directory and settings of its own.

    Attributes:
        cache: What it works on.
        state: Its state directory.
        settings: More environment variables.
    """

    cache: GoCache
    state: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """What the command is started with; a newer go comes first in PATH than the machine's own."""
        return {
            **self.cache.environ,
            "PATH": f"{self.cache.toolchain.go.parent}:{self.cache.environ['PATH']}",
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(self.state),
            "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src"),
            **self.settings,
        }

    def run(self, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run it without a terminal; failure is not raised."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd or self.cache.module,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run it with `--json`, demand an exit code, give the document."""
        done = self.run(*arguments, "--json")
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def type(self, *arguments: str, answers: tuple[tuple[str, str], ...]) -> tuple[int, str]:
        """Run it at a terminal and answer its questions.

        Args:
            arguments: The command line.
            answers: Pairs: what to wait for, and what to type then. An answer may hold `{digest}`, which stands for the last
                64 hexadecimal digits on the screen.

        Returns:
            The exit code and all that was on the screen.
        """
        main, far = pty.openpty()
        child = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.cache.module,
            env=self.environ,
            stdin=far,
            stdout=far,
            stderr=far,
            close_fds=True,
        )
        os.close(far)
        screen, waiting, deadline = "", list(answers), time.monotonic() + 120
        decoder = getincrementaldecoder("utf-8")()
        while time.monotonic() < deadline:
            if select.select([main], [], [], 0.1)[0]:
                try:
                    screen += decoder.decode(os.read(main, 4096))
                except OSError:
                    break  # the other side was closed: it ended
            elif child.poll() is not None:
                break
            if waiting and waiting[0][0] in screen:
                os.write(main, f"{waiting.pop(0)[1].format(digest=digest_on(screen))}\n".encode())
        code = child.wait(timeout=60)
        os.close(main)
        return code, screen


def digest_on(screen: str) -> str:
    """The digest that a screen shows last; nothing if it shows none."""
    words = [word.strip() for word in screen.split()]
    return next((word for word in reversed(words) if len(word) == 64 and set(word) <= set("0123456789abcdef")), "")


def files_of(root: Path) -> dict[str, bytes]:
    """Name and content of every entry of a cache."""
    found = {}
    for path in sorted(root.glob("??/*")):
        content = path if path.is_file() else next(path.iterdir())
        found[str(path.relative_to(root))] = content.read_bytes()
    return found
