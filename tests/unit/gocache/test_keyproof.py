"""Old keys, found without a record of them: only one that exists is a proof."""

from collections.abc import Sequence

import pytest

from go_cache_safeguard.gocache.hashlog import Block
from go_cache_safeguard.gocache.keychange import describe
from go_cache_safeguard.gocache.keyproof import Clues, Held, Old, Prover
from go_cache_safeguard.gocache.keyrecord import hash_of
from go_cache_safeguard.gocache.why import Proof

LINES = (
    "go1.27.3",
    "compile\n",
    "dir /m/a\n",
    "go 1.21\n",
    "goos linux goarch amd64\n",
    'import "m/a"\n',
    'omitdebug false standard false local false prefix ""\n',
    "compile compile version go1.27.3 [] []\n",
    'asm "asm version go1.27.3" [] []\n',
    "GOAMD64=v1\n",
    "file a.go AAAAAAAAAAAAAAAAAAAA\n",
    "file c.go CCCCCCCCCCCCCCCCCCCC\n",
    "import m/b PLACEHOLDER\n",
)
CONTENTS = {"m/b": (Held("BBBB", "go1.27.3", "linux/amd64"), Held("RRRR", "go1.27.3", "linux/amd64", ("-race",)))}


def prove(old: Sequence[str], clues: Clues, lines: Sequence[str] = LINES, *, tries: int = 20_000) -> Proof | None:
    """Look for an old key, if that is the only one that exists."""
    block = Block("build m/a", tuple(line.encode() for line in lines), hash_of(lines))
    prover = Prover(lambda key: key == hash_of(old), CONTENTS, tries)
    return prover.prove(block, frozenset({"m/b"}), clues)


def swapped(*swaps: tuple[str, str]) -> list[str]:
    lines = list(LINES)
    for old, new in (("import m/b PLACEHOLDER\n", "import m/b BBBB\n"), *swaps):
        lines[lines.index(old)] = new
    return lines


FILE_A, FILE_C = LINES[10], LINES[11]
HEAD = Clues(files=(Old("git HEAD", {"a.go": "X" * 20, "c.go": "C" * 20}),))


@pytest.mark.parametrize(
    ("swaps", "clues", "expected"),
    [
        ([(FILE_A, f"file a.go {'X' * 20}\n")], HEAD, ["file a.go edited"]),
        ([(FILE_C, "")], Clues(), ["file c.go added"]),
        (
            [(FILE_C, f"file b.go {'Y' * 20}\n{FILE_C}")],
            Clues(files=(Old("x", {"a.go": "A" * 20, "b.go": "Y" * 20, "c.go": "C" * 20}),)),
            ["file b.go removed"],
        ),
        ([("dir /m/a\n", "dir /n/a\n")], Clues((Held("", source="/n/a"),)), ["directory: /n before, /m now"]),
        ([("go 1.21\n", "go 1.19\n")], Clues(), ["go line: 1.19 before, 1.21 now"]),
        ([("go 1.21\n", "go 1.22rc1\n")], Clues(go_lines=("1.22rc1",)), ["go line: 1.22rc1 before, 1.21 now"]),
        ([("GOAMD64=v1\n", "GOAMD64=v3\n")], Clues(), ["environment GOAMD64: v3 before, v1 now"]),
        (
            [(LINES[7], 'compile compile version go1.27.3 [] ["-N" "-l"]\n')],
            Clues(),
            ["flag -gcflags: -N -l before, not there now"],
        ),
        (
            [("go1.27.3", "go1.21.13"), *((one, one.replace("go1.27.3", "go1.21.13")) for one in LINES[7:9])],
            Clues((Held("", "go1.21.13", "linux/amd64"),)),
            None,
        ),
        (
            [("dir /m/a\n", "dir /n/a\n"), ("GOAMD64=v1\n", "GOAMD64=v2\n")],
            Clues((Held("", source="/n/a"),)),
            ["environment GOAMD64: v2 before, v1 now", "directory: /n before, /m now"],
        ),
        ([], Clues(), []),
    ],
)
def test_the_old_key_is_found_by_what_may_have_been_in_it(
    swaps: list[tuple[str, str]], clues: Clues, expected: list[str] | None
) -> None:
    proof = prove(swapped(*swaps), clues)
    if expected is None:
        assert proof is None  # what it imports is not there of that toolchain
        return
    assert proof is not None
    assert [describe(change) for change in proof.changes] == expected
    assert proof.imports == ("m/b",)
    assert proof.key == hash_of(swapped(*swaps))


def test_where_an_old_file_is_from_is_told() -> None:
    proof = prove(swapped((FILE_A, f"file a.go {'X' * 20}\n")), HEAD)
    assert proof is not None
    assert proof.told == "git HEAD"


def test_another_flag_means_another_content_of_what_is_imported() -> None:
    old = [line.replace("BBBB", "RRRR") for line in swapped((LINES[7], LINES[7].replace("[] []", '["-race"] []')))]
    proof = prove(old, Clues())
    assert proof is not None
    assert [describe(change) for change in proof.changes] == ["flag -race: true before, not there now"]


def test_where_the_old_key_is_not_there_nothing_is_proved_and_the_search_ends() -> None:
    assert prove(["nothing"], Clues((Held("", "go1.21.13", "linux/amd64", (), "/n/a"),)), tries=100) is None


def test_the_information_in_a_program_is_changed_with_the_flags() -> None:
    info = 'modinfo "path\\tm\\nbuild\\t-buildmode=exe\\nbuild\\t-compiler=gc\\nbuild\\t-ldflags=-w\\nbuild\\tCGO_ENABLED=1\\n"\n'
    lines = [*LINES[:7], info, *LINES[7:]]
    for gone in ("build\\t-ldflags=-w\\n",):
        old = [line.replace(gone, "").replace("PLACEHOLDER", "BBBB") for line in lines]
        proof = prove(old, Clues(), lines)
        assert proof is not None
        assert [describe(change) for change in proof.changes] == ["flag -ldflags: not there before, -w now"]


def test_a_commit_that_was_stamped_before_is_tried() -> None:
    revision, other = "1" * 40, "2" * 40
    info = (
        f'modinfo "mod\\tm\\tv0.0.0-20260101000000-{"1" * 12}+dirty\\t\\nbuild\\tvcs.revision={revision}\\n'
        'build\\tvcs.time=2026-01-01T00:00:00Z\\nbuild\\tvcs.modified=true\\n"\n'
    )
    before = (
        info.replace(revision, other)
        .replace(f"20260101000000-{'1' * 12}+dirty", f"20251231000000-{'2' * 12}")
        .replace("2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z")
        .replace("modified=true", "modified=false")
    )
    lines = [*LINES[:7], info, *LINES[7:]]
    old = [before if line == info else line.replace("PLACEHOLDER", "BBBB") for line in lines]
    proof = prove(old, Clues(stamps=((other, "2025-12-31T00:00:00Z"),)), lines)
    assert proof is not None
    assert proof.told == f"git {other[:12]}"
