"""What keys are made of, and records of runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.hashlog import Block, parse_hash_log
from go_cache_safeguard.gocache.keyrecord import (
    Input,
    NoRecord,
    Part,
    Record,
    Recorded,
    cover,
    hash_of,
    imports_of,
    inputs_of,
    keys_of,
    read_record,
    recorded,
    write_record,
)

LINES = (
    "go1.27.3",
    "compile\n",
    "dir /src/m\n",
    "go 1.21\n",
    "goos linux goarch amd64\n",
    'import "example.com/m"\n',
    'omitdebug false standard false local false prefix ""\n',
    'cgo "cgo version go1.27.3"\n',
    'CC=["gcc"] [] ["-O2" "-g"] ["-lm"]\n',
    'CC ID="gcc 12"\n',
    'cover "set" "cover version go1.27.3"\n',
    (
        'modinfo "path\\texample.com/m\\nmod\\texample.com/m\\t(devel)\\t\\ndep\\texample.com/e\\tv1.0.0\\th1:x\\nbuild\\t-tags=foo\\n'
        'build\\tCGO_ENABLED=1\\nbuild\\tGOARCH=amd64\\nbuild\\tvcs.modified=true\\nbuild\\tDefaultGODEBUG=a=1\\nbuild\\t-pgo=/p\\n"\n'
    ),
    'compile compile version go1.27.3 X:arenas ["-race"] ["-N" "-l"]\n',
    'asm "asm version go1.27.3" [] ["-D=x"]\n',
    "GOAMD64=v1\n",
    'GOEXPERIMENT="arenas"\n',
    "magic GOSSAFUNC=main\n",
    "file a b.go AAAAAAAAAAAAAAAAAAAA\n",
    "import fmt BBBBBBBBBBBBBBBBBBBB\n",
    "pgofile CCCCCCCCCCCCCCCCCCCC\n",
    "something new\n",
)


HEAD = (
    b'{"schema":"go-cache-safeguard/run/1","project":"","directory":"","command":[],"toolchain":"","at_ns":0,'
    b'"environment":{},'
)
"""Of a record, all but its keys."""


def test_every_line_of_a_key_has_its_meaning() -> None:
    assert set(inputs_of(LINES)) == {
        Input(Part.TOOLCHAIN, "", "go1.27.3"),
        Input(Part.DIRECTORY, "", "/src/m"),
        Input(Part.GO_LINE, "", "1.21"),
        Input(Part.TARGET, "GOOS", "linux"),
        Input(Part.TARGET, "GOARCH", "amd64"),
        Input(Part.ENVIRONMENT, "CGO_ENABLED", "1"),
        Input(Part.TOOLCHAIN, "cgo", '"cgo version go1.27.3"'),
        Input(Part.ENVIRONMENT, "CC", "gcc"),
        Input(Part.ENVIRONMENT, "CGO_CPPFLAGS", ""),
        Input(Part.ENVIRONMENT, "CGO_CFLAGS", "-O2 -g"),
        Input(Part.ENVIRONMENT, "CGO_LDFLAGS", "-lm"),
        Input(Part.C_COMPILER, "CC", '"gcc 12"'),
        Input(Part.FLAG, "-cover", "true"),
        Input(Part.FLAG, "-covermode", "set"),
        Input(Part.VCS, "example.com/m", "(devel)"),
        Input(Part.DEPENDENCY, "example.com/e", "v1.0.0\th1:x"),
        Input(Part.FLAG, "-tags", "foo"),
        Input(Part.VCS, "vcs.modified", "true"),
        Input(Part.SETTING, "DefaultGODEBUG", "a=1"),
        Input(Part.PROFILE, "-pgo", "/p"),
        Input(Part.TOOLCHAIN, "compile", "compile version go1.27.3"),
        Input(Part.FLAG, "-race", "true"),
        Input(Part.FLAG, "-gcflags", "-N -l"),
        Input(Part.TOOLCHAIN, "asm", "asm version go1.27.3"),
        Input(Part.FLAG, "-asmflags", "-D=x"),
        Input(Part.ENVIRONMENT, "GOAMD64", "v1"),
        Input(Part.EXPERIMENT, "", "arenas"),
        Input(Part.ENVIRONMENT, "GOSSAFUNC", "main"),
        Input(Part.FILE, "a b.go", "AAAAAAAAAAAAAAAAAAAA"),
        Input(Part.IMPORT, "fmt", "BBBBBBBBBBBBBBBBBBBB"),
        Input(Part.PROFILE, "", "CCCCCCCCCCCCCCCCCCCC"),
        Input(Part.OTHER, "something new", ""),
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("module example.com/m@v1.0.0\n", [Input(Part.MODULE, "", "example.com/m@v1.0.0")]),
        ("trimpath\n", [Input(Part.FLAG, "-trimpath", "true")]),
        ("buildmode default goos linux goarch arm64\n", [Input(Part.FLAG, "-buildmode", "default")]),
        ('linkflags ["-X" "a.b=c"]\n', [Input(Part.FLAG, "-ldflags", "-X a.b=c")]),
        ('vet "vet version go1.27.3"\n', [Input(Part.TOOLCHAIN, "vet", '"vet version go1.27.3"')]),
        ("vetxonly true\n", []),
        ("env FOO 00ff\n", [Input(Part.VARIABLE, "FOO", "00ff")]),
        ("open /m/x y 00ff\n", [Input(Part.OPENED, "/m/x y", "00ff")]),
        ("stat /m/x 00ff\n", [Input(Part.LOOKED, "/m/x", "00ff")]),
        ("compile strange\n", [Input(Part.OTHER, "compile strange", "")]),
        ("test strange\n", [Input(Part.OTHER, "test strange", "")]),
        ("=\n", [Input(Part.ENVIRONMENT, "", "")]),
    ],
)
def test_other_lines_have_theirs(line: str, expected: list[Input]) -> None:
    found = inputs_of(("go1.21.13", line))[1:]
    assert list(found)[: len(expected)] == expected
    assert bool(found) == bool(expected)


def test_a_test_s_key_has_its_program_and_its_arguments() -> None:
    line = 'test binary ABC args ["-test.run=x" "-test.v=true"] execcmd ["qemu"]'
    assert inputs_of(("go1.21.13", line))[1:] == (
        Input(Part.BINARY, "", "ABC"),
        Input(Part.ARGUMENTS, "", "-test.run=x -test.v=true"),
        Input(Part.ARGUMENTS, "-exec", 'execcmd ["qemu"]'),
    )


def test_imports_are_those_of_other_packages() -> None:
    assert imports_of(LINES) == {"fmt": "BBBBBBBBBBBBBBBBBBBB"}


@pytest.mark.parametrize(
    "line",
    [
        'modinfo "build\\t-ldflags=\\"-X main.token=hunter2 -w\\"\\n"\n',
        'modinfo "build\\t-ldflags=-X=main.token=hunter2\\n"\n',
        'linkflags ["-X" "main.token=hunter2"]\n',
        "-ldflags=-X 'main.token=hunter2'",
    ],
)
def test_what_the_linker_sets_is_covered_the_same_way_each_time(line: str) -> None:
    covered = cover(line)
    assert "hunter2" not in covered
    assert "main.token=sha256:" in covered
    assert covered == cover(line)
    assert covered != cover(line.replace("hunter2", "hunter3"))


def test_a_line_without_secrets_stays_as_it_is() -> None:
    assert cover('modinfo "build\\t-ldflags=-w\\n"\n') == 'modinfo "build\\t-ldflags=-w\\n"\n'


def test_packages_and_programs_of_tests_are_kept_and_indexes_are_not() -> None:
    blocks = (
        Block("moduleIndex", (b"s", b"1"), b"1" * 32),
        Block("build a", (b"s", b"2"), b"2" * 32),
        Block("link a.test", (b"s", b"packagefile x=y\n", b"linkflags []\n"), b"3" * 32),
        Block("link a", (b"s",), b"4" * 32),
        Block("vet a", (b"s", b'pkg "x"\n', b"vetflags []\n"), b"5" * 32),
    )
    log = parse_hash_log(b"")
    kept = keys_of(type(log)(blocks, {}, (), 0, b""))
    assert [(key.name, key.lines) for key in kept] == [
        ("build a", ("s", "2")),
        ("link a.test", ("s", "linkflags []\n")),
        ("vet a", ("s", "vetflags []\n")),
    ]


def test_a_package_that_is_built_once_more_with_a_profile_has_a_name_of_its_own() -> None:
    assert recorded(Block("build a", (b"s", b"pgofile x\n"), b"1" * 32)).name == "build a [pgo]"


def test_a_record_is_read_as_it_was_written() -> None:
    keys = (
        Recorded("build a", LINES, hash_of(LINES)),
        Recorded("link a.test", ("s",), b"7" * 32, held=False),
        Recorded("build \udcff", ("s\udcff",), hash_of(("s\udcff",))),
    )
    record = Record("/m", "/m/x", ("go", "build"), "go1.27.3", 7, {"GOOS": "linux"}, keys)
    assert read_record(write_record(record)) == record
    assert record.by_name["build a"] is keys[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema":"go-cache-safeguard/run/1"}',
        HEAD + b'"keys":[["a",["b"],"00",1]]}',
        HEAD + b'"keys":[["a",[1],"",1]]}',
        HEAD + b'"keys":[["a"]]}',
    ],
)
def test_what_is_no_record_is_not_half_believed(data: bytes) -> None:
    assert isinstance(read_record(data), NoRecord)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=6))
def test_any_lines_have_inputs(lines: list[str]) -> None:
    assert inputs_of(lines)[0] == Input(Part.TOOLCHAIN, "", lines[0])
