"""Record the terminal session that README shows: `make capture`.

A small module is built with the machine's own Go in a scratch home; then each command below is run there for real, and what it
prints goes into README between the capture markers. The scratch home is written as `~`, and nothing else is changed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
COMMANDS = (
    "go-cache-safeguard status",
    "go-cache-safeguard check",
    "go-cache-safeguard plan --kind archive -o plan.json",
    "go-cache-safeguard clean plan.json",
    "go-cache-safeguard undo OP",
    "go-cache-safeguard clean --kind archive --snapshot --prove ./... --receipt receipt.json",
    "go-cache-safeguard audit verify --receipt receipt.json",
    "# flip one bit of one cached package: go would link it without a word",
    "go-cache-safeguard fsck",
    "go-cache-safeguard fsck --repair",
    "go-cache-safeguard fsck --all",
)
"""`OP` stands for the operation of the clean before."""

_MODULE = {
    "go.mod": "module example.com/hello\n\ngo 1.21\n",
    "main.go": 'package main\n\nimport "example.com/hello/greet"\n\nfunc main() { println(greet.World()) }\n',
    "greet/greet.go": 'package greet\n\n// World greets.\nfunc World() string { return "hello, world" }\n',
}


def main() -> None:
    """Record and write."""
    with tempfile.TemporaryDirectory(prefix="safeguard-capture-") as folder:
        home = Path(folder) / "home"
        module = home / "hello"
        for name, text in _MODULE.items():
            path = module / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        environ = {
            "PATH": f"{REPOSITORY / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "COLUMNS": "120",
            "CGO_ENABLED": "0",
            # The plan below moves most of this small cache, which policy would hold for a person to approve.
            "GO_CACHE_SAFEGUARD_POLICY_HOLD_SHARE": "100%",
            "GO_CACHE_SAFEGUARD_STATE_DIR": str(home / ".local/state/go-cache-safeguard"),
        }
        subprocess.run(["go", "build", "-o", os.devnull, "."], cwd=module, env=environ, check=True)
        record = "\n".join(_lines(module, environ)).replace(str(home), "~")
    section = f"<!-- capture:begin -->\n```console\n{record.strip()}\n```\n<!-- capture:end -->"
    page = README.read_text("utf-8")
    pattern = re.compile("<!-- capture:begin -->.*?<!-- capture:end -->", re.DOTALL)
    README.write_text(pattern.sub(lambda _match: section, page), "utf-8")
    sys.stdout.write(record + "\n")


def _lines(module: Path, environ: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    operation = "OP"
    for command in COMMANDS:
        if command.startswith("#"):
            _flip_a_bit(module, environ)
            lines += [f"$ {command}", ""]
            continue
        told = command.replace("OP", operation)
        done = subprocess.run(
            shlex.split(told),
            cwd=module,
            env=environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        lines += [f"$ {told}", *(done.stdout + done.stderr).rstrip().splitlines()]
        lines += [f"(exit code {done.returncode})", ""] if done.returncode else [""]
        if command.startswith("go-cache-safeguard clean"):
            operation = _last_operation(module, environ)
    return [line.rstrip() for line in lines]


def _last_operation(module: Path, environ: Mapping[str, str]) -> str:
    command = ["go-cache-safeguard", "ops", "list", "--all", "--json"]
    listed = subprocess.run(command, cwd=module, env=environ, capture_output=True, check=True).stdout
    return str(json.loads(listed)["operations"][-1]["op"])


def _flip_a_bit(module: Path, environ: Mapping[str, str]) -> None:
    command = ["go", "list", "-export", "-f", "{{.Export}}", "example.com/hello/greet"]
    output = Path(
        subprocess.run(command, cwd=module, env=environ, capture_output=True, text=True, check=True).stdout.strip()
    )
    data = bytearray(output.read_bytes())
    at = data.index(b"hello, world")
    data[at] ^= 0x20
    output.write_bytes(data)


if __name__ == "__main__":
    main()
