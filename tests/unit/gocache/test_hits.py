"""What the compiled twin answers is what Python answers, byte for byte, and what is odd it leaves to Python."""

import os
import random
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from go_cache_safeguard.flows.cacheprog import Server
from go_cache_safeguard.flows.trace_prog import Seen
from go_cache_safeguard.gocache.hits import COMPILED, Swift
from go_cache_safeguard.gocache.layout import action_name, output_name
from go_cache_safeguard.gocache.native import Native, Table
from go_cache_safeguard.gocache.trace import parse_trace

ACTIONS = [sha256(bytes([number])).digest() for number in range(40)]
TIMES = [0, 1, 951_782_399 * 10**9, 951_868_800 * 10**9 + 7, 4_107_542_400 * 10**9, 2**62, 2**63 - 1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with every oddity, each in an entry of its own."""
    root = tmp_path / "cache"
    root.mkdir()
    native = Native(str(root), table=Table(str(tmp_path / "marks")))
    for number, action in enumerate(ACTIONS[:30]):
        content = b"" if number % 5 == 4 else bytes([number]) * (100 + number)
        incoming = native.begin(action, sha256(content).digest(), len(content))
        incoming.write(content)
        incoming.finish()
    entries = [root / action_name(action) for action in ACTIONS]
    for number, time_ns in enumerate(TIMES):
        data = entries[number].read_bytes()
        entries[number].write_bytes(data[:154] + f"{time_ns:20d}\n".encode())
    damages = (b"", b"v1", bytes(175), b"x" * 400, entries[10].read_bytes()[:-1], entries[10].read_bytes() + b"\n")
    for path, data in zip(entries[10:16], damages, strict=True):
        path.write_bytes(data)
    odd = entries[16].read_bytes()
    entries[16].write_bytes(odd[:68] + odd[68:132].upper() + odd[132:])
    entries[17].write_bytes(odd[:3] + ACTIONS[17].hex().encode() + odd[67:133] + b"+" + odd[134:])
    outputs = {number: root / output_name(sha256(bytes([number]) * (100 + number)).digest()) for number in range(30)}
    outputs[18].write_bytes(b"!" * 118)  # other bytes, same size
    outputs[20].write_bytes(b"")
    outputs[21].rename(root / "aside")
    outputs[22].rename(root / "aside2")
    outputs[22].symlink_to(root / "aside2")
    os.utime(entries[23], ns=(1, 1))
    os.utime(outputs[25], ns=(1, 1))
    entries[26].rename(root / "aside3")
    os.mkfifo(entries[26])
    return root


def requests() -> bytes:
    """Gets of everything, some twice, with odd lines and a put in between."""
    lines = []
    for number, action in enumerate([*ACTIONS, *ACTIONS[:7]], 1):
        lines.append(b'{"ID":%d,"Command":"get","ActionID":"%b"}\n\n' % (number, b64encode(action)))
        if number == 7:
            body = b"something new"
            about = (b64encode(sha256(b"new").digest()), b64encode(sha256(body).digest()), len(body), b64encode(body))
            lines.append(b'{"ID":900,"Command":"put","ActionID":"%b","OutputID":"%b","BodySize":%d}\n\n"%b"\n' % about)
        if number == 9:
            lines.append(b'nonsense\n{"ID": 901, "Command": "get", "ActionID": "%b"}\n' % b64encode(ACTIONS[1]))
            lines.append(b'{"ID":902,"Command":"get","ActionID":"%b"}\n' % (b64encode(ACTIONS[1])[:-2] + b"/="))
            lines.append(b'{"ID":999999999999999999,"Command":"get","ActionID":"%b"}\n' % b64encode(ACTIONS[1]))
    return b"".join(lines) + b'{"ID":1000,"Command":"close"}\n\n'


def served(
    native: Native, *, compiled: bool, cuts: int = 0, seen: Seen | None = None
) -> tuple[dict[int, bytes], list[int]]:
    """Replies by their numbers, and all counts."""
    inlet, ours = os.pipe()
    theirs, outlet = os.pipe()
    data = requests()
    pid = os.fork() if cuts else 0
    if cuts and pid == 0:  # somebody who writes a little at a time
        chance = random.Random(cuts)  # noqa: S311 - the same cuts each time
        while data:
            data = data[os.write(ours, data[: chance.randint(1, 60)]) :]
        os._exit(0)
    if not cuts:
        os.write(ours, data)
    os.close(ours)
    server = Server(native, inlet=inlet, outlet=outlet, compiled=compiled, watch=seen)
    counts = server.run()
    os.close(outlet)
    if cuts:
        os.waitpid(pid, 0)
    replies = b""
    while piece := os.read(theirs, 1 << 16):
        replies += piece
    os.close(inlet)
    os.close(theirs)
    numbered = {int(match[1]): match[0] for match in re.finditer(rb'\{"ID":(\d+)[^\n]*\n', replies)}
    return numbered, [getattr(counts, name) for name in counts.__slots__]


@pytest.mark.parametrize("verify", ["marks", "never"])
@pytest.mark.parametrize("cuts", [0, 1, 2])
def test_it_answers_as_python_does(root: Path, tmp_path: Path, verify: str, cuts: int) -> None:
    assert COMPILED
    plain = served(Native(str(root), table=Table(str(tmp_path / "marks")), verify=verify), compiled=False)
    swift = served(Native(str(root), table=Table(str(tmp_path / "marks")), verify=verify), compiled=True, cuts=cuts)
    assert swift == plain
    assert len(plain[0]) == len(ACTIONS) + 7 + 6
    assert 15 < sum(b"DiskPath" in reply for reply in plain[0].values()) < 40


def test_its_lines_are_those_of_python_but_for_the_times(root: Path) -> None:
    one, other = Seen(), Seen()
    served(Native(str(root), verify="never"), compiled=False, seen=one)
    served(Native(str(root), verify="never"), compiled=True, cuts=3, seen=other)
    plain, swift = ({look.action: look for look in parse_trace(seen.lines())} for seen in (one, other))
    assert len(plain) == len(ACTIONS) + 2  # of one request the last letter is another one, and something was put
    assert {(look.action, look.output, look.hit, look.put, look.size) for look in plain.values()} == {
        (look.action, look.output, look.hit, look.put, look.size) for look in swift.values()
    }
    assert all(look.ns > 0 for look in swift.values())
    assert len(parse_trace(b"".join(other._lines))) > 3, "not all of it was left to Python"


def test_it_is_asked_only_where_marks_suffice(root: Path, tmp_path: Path) -> None:
    assert Native(str(root), verify="always", table=Table(str(tmp_path / "marks"))).swift() is None
    assert Native(str(root)).swift() is None
    assert Native(str(root), verify="never").swift() is not None
    assert Swift(b"/" * 5000, b"/", -1, verify=False).server(0, 1, misses=True, logs=False) is None
