"""Unit tests of gotool.instructions, mirroring the file they test. The scripts are cut from those of real go commands."""

from go_cache_safeguard.gotool.instructions import Instructions, Places, Step, parse_instructions

PLACES = Places("/src/m", {"/src/m": "$(example.org/m)", "/opt/go": "$GOROOT", "/cache": "$GOCACHE"})
TOOL = "/opt/go/pkg/tool/linux_amd64"

NEW = f"""mkdir -p $WORK/b006/

#
# internal/goarch
#

echo '# import config' > $WORK/b006/importcfg # internal
cd /src/m
{TOOL}/compile -o $WORK/b006/_pkg_.a -trimpath "$WORK/b006=>" -p internal/goarch -lang=go1.27 -std -complete -buildid y6A/y6A \
-goversion go1.27.3 -c=2 -nolocalimports -importcfg $WORK/b006/importcfg -pack /opt/go/src/internal/goarch/goarch.go
go tool buildid -w $WORK/b006/_pkg_.a # internal
mkdir -p $WORK/b001/

#
# example.org/m
#

cat >$WORK/b001/importcfg << 'EOF' # internal
# import config
packagefile internal/goarch=$WORK/b006/_pkg_.a
importmap x/y=example.org/m/vendor/x/y
EOF
cat >$WORK/b001/embedcfg << 'EOF' # internal
{{
	"Files": {{
		"c.txt": "/src/m/c.txt"
	}}
}}EOF
{TOOL}/compile -o $WORK/b001/_pkg_.a -trimpath "/src/m=>example.org/m;$WORK/b001=>" -p main -complete -pack ./main.go
cat >$WORK/b001/importcfg.link << 'EOF' # internal
packagefile example.org/m=$WORK/b001/_pkg_.a
modinfo "0w\\xaf\\f\\x92t\\b\\x02A\\xe1\\xc1\\a\\xe6\\xd6\\x18\\xe6path\\texample.org/m\\nbuild\\tCGO_ENABLED=1\\nbuild\\tvcs.time=x\\n\\xf92C1"
EOF
mkdir -p $WORK/b001/exe/
cd .
GOROOT='/opt/go' {TOOL}/link -o $WORK/b001/exe/a.out -importcfg $WORK/b001/importcfg.link -buildmode=exe -buildid=je/aP \
-extld=gcc $WORK/b001/_pkg_.a
"""

LINK_ONLY = f"""mkdir -p $WORK/b007/
cat >$WORK/b007/importcfg.link << 'EOF' # internal
packagefile example.org/m=/cache/38/{"38" * 32}-d
EOF
cd .
{TOOL}/link -o $WORK/b007/exe/a.out -buildmode=exe /cache/38/{"38" * 32}-d
"""


def test_each_package_has_its_steps_with_flags_and_inputs() -> None:
    found = parse_instructions(NEW, PLACES)
    assert list(found) == ["internal/goarch", "example.org/m"]
    compile_, buildid = found["internal/goarch"].steps
    assert compile_ == Step(
        "compile",
        (
            "-o $WORK/internal/goarch/_pkg_.a",
            "-trimpath $WORK/internal/goarch=>",
            "-p internal/goarch",
            "-lang=go1.27",
            "-std",
            "-complete",
            "-goversion go1.27.3",
            "-nolocalimports",
            "-importcfg $WORK/internal/goarch/importcfg",
            "-pack",
        ),
        ("$GOROOT/src/internal/goarch/goarch.go",),
    )
    assert buildid == Step("buildid", ("-w",), ("$WORK/internal/goarch/_pkg_.a",))


def test_files_that_go_writes_are_steps_and_import_configurations_are_lines() -> None:
    main = parse_instructions(NEW, PLACES)["example.org/m"]
    assert [step.tool for step in main.steps] == ["write", "compile", "link"]
    assert main.steps[0].inputs == ("{", '"Files": {', '"c.txt": "$(example.org/m)/c.txt"', "}", "}")
    assert main.steps[1].inputs == ("$(example.org/m)/main.go",)
    assert "-trimpath $(example.org/m)=>example.org/m;$WORK/example.org/m=>" in main.steps[1].flags
    assert main.steps[2].flags[0] == "GOROOT=$GOROOT"
    assert main.config == (
        "importmap x/y=example.org/m/vendor/x/y",
        "link: modinfo build CGO_ENABLED=1",
        "link: modinfo path example.org/m",
        "link: packagefile example.org/m",
        "packagefile internal/goarch",
    )


def test_a_program_that_is_only_linked_is_known_by_its_first_archive() -> None:
    (name, main), *rest = parse_instructions(LINK_ONLY, PLACES).items()
    assert (name, rest) == ("example.org/m", [])
    assert main.steps[0].flags[0] == "-o $WORK/example.org/m/exe/a.out"


def test_the_same_build_elsewhere_reads_the_same() -> None:
    other = NEW.replace("/src/m", "/home/you/m").replace("/opt/go", "/usr/lib/go").replace("b001", "b017")
    other = other.replace("y6A/y6A", "zzz/zzz").replace("-c=2", "-c=16")
    places = Places("/home/you/m", {"/home/you/m": "$(example.org/m)", "/usr/lib/go": "$GOROOT"})
    assert parse_instructions(other, places) == parse_instructions(NEW, PLACES)


def test_a_directory_is_not_found_in_the_middle_of_another_name() -> None:
    places = Places("/", {"/a": "$A", "/a/b": "$B"})
    assert places.name("/a/b/c /a/c /ab/c x/a/c -I/a/c /a") == "$B/c $A/c /ab/c x/a/c -I$A/c $A"
    assert places.name("/a.b /a-b /a@v1") == "/a.b /a-b /a@v1"


def test_the_probing_of_a_c_compiler_is_no_step() -> None:
    script = """
#
# example.org/c
#

cd $WORK
gcc -fno-caret-diagnostics -c -x c - -o /dev/null || true
cd $WORK/b001
TERM='dumb' gcc -I /src/m -O2 -o ./_cgo_main.o -c _cgo_main.c
"""
    steps = parse_instructions(script, PLACES)["example.org/c"].steps
    flags = ("TERM=dumb", "-I $(example.org/m)", "-O2", "-o $WORK/example.org/c/_cgo_main.o", "-c")
    assert steps == (Step("gcc", flags, ("_cgo_main.c",)),)


def test_a_wrapper_of_tools_is_a_flag_of_the_tool() -> None:
    script = f"\n#\n# p\n#\n\nmkdir -p $WORK/b002/\n/opt/wrap -v {TOOL}/compile -o $WORK/b002/_pkg_.a ./p.go\n"
    (step,) = parse_instructions(script, PLACES)["p"].steps
    assert (step.tool, step.flags[0]) == ("compile", "-toolexec /opt/wrap -v")


def test_lines_that_nobody_knows_are_steps_and_a_cut_script_is_read_as_far_as_it_goes() -> None:
    assert parse_instructions('frobnicate "a b" \'c\' "', PLACES) == {
        "": Instructions((Step("frobnicate", (), ("a b", "c", '"')),), ())
    }
    assert parse_instructions("cat >$WORK/b001/importcfg << 'EOF'\npackagefile a=b", PLACES) == {
        "": Instructions((), ("packagefile a",))
    }
    assert parse_instructions("", PLACES) == {}
