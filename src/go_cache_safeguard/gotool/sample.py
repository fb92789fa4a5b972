"""A small module that touches everything a cache key may hold, and what is planted in a copy of somebody's own.

Knows:     its files, which of them play which part, and the versions of the module that it needs.
Called by: `gocache.dimensions` edits it; `flows.lab` writes it.
Never:     writes a file or starts go.
Source:    the import chain a <- b <- c <- main makes early cut-off visible: a constant and a small function reach main because they
           are inlined, the body of a function that is not inlined stops at a (cmd/compile, export data; go1.21 to go1.27).

All names that are planted begin with `Safeguard`, so that they cannot meet names of the person's.
"""

from collections.abc import Mapping
from types import MappingProxyType

MODULE = "matrix.invalid/m"
"""A name that no package registry can hold: `.invalid` is reserved (RFC 2606)."""
EXTERNAL = "matrix.invalid/ext"
VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0")
"""Of the module that it needs: the one in go.mod, one with the same source, one with another."""
TAG = "safeguardtag"
"""The build constraint of a file in package a."""
PROBE, TAGGED = "safeguard_probe.go", "safeguard_tagged.go"
"""Names of the files that are edited, and planted."""

PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "a": (f"{MODULE}/a",),
        "b": (f"{MODULE}/b",),
        "c": (f"{MODULE}/c",),
        "main": (MODULE,),
        "std": ("strconv",),
        "cg": (f"{MODULE}/cg",),
        "ext": (EXTERNAL,),
    }
)
"""The columns of a matrix of this module."""

_SUBJECT = """package {package}

// SafeguardLimit is exported.
const SafeguardLimit = 10

// SafeguardInline is inlined where it is called.
func SafeguardInline() int {{ return SafeguardLimit + 1 }}

//go:noinline
func SafeguardBody() int {{ return 7 }}
"""
_TAGGED = """//go:build {tag}

package {package}

// SafeguardTagged is there with the tag only.
func SafeguardTagged() int {{ return 5 }}
"""
_TAGGED_TEST = """//go:build {tag}

package a

import "testing"

func TestTagged(t *testing.T) {{
	if SafeguardTagged() == 0 {{
		t.Fatal("zero")
	}}
}}
"""
_DEPENDENT = """package {package}

import safeguard "{subject}"

// SafeguardChain hands on what is inlined.
func SafeguardChain() int {{ return safeguard.SafeguardInline() + safeguard.SafeguardLimit }}

//go:noinline
func SafeguardCall() int {{ return safeguard.SafeguardBody() + 1 }}
"""
_C = """package c

import (
	_ "embed"

	"{module}/b"
)

//go:embed text.txt
var text string

// Text is embedded.
func Text() string {{ return text }}

// Number comes from all below.
func Number() int {{ return b.SafeguardChain() + b.SafeguardCall() }}

// Hot is too long to be inlined, unless a profile says that it is worth it.
func Hot(n int) int {{
	sum := 0
	for i := 0; i < n; i++ {{
		if i%3 == 0 {{
			sum += i*n + sum>>3
		}} else if i%5 == 0 {{
			sum -= (i^n)*7 + sum<<2
		}} else {{
			sum ^= (i << 2) + (n|i)*11 - sum%13
		}}
		sum += (sum>>1)*3 - (i&n)*5 + (sum^i)%17
	}}
	return sum
}}
"""
_MAIN = """package main

import (
	"strconv"

	"{external}"
	"{module}/c"
)

func main() {{ println(strconv.Itoa(c.Number()), c.Hot(c.Number()), c.Text(), ext.Word()) }}
"""
_TEST = """package a

import (
	"os"
	"testing"
)

func TestBody(t *testing.T) {
	if SafeguardBody() == 0 {
		t.Fatal("zero")
	}
}

func TestReads(t *testing.T) {
	_ = os.Getenv("SAFEGUARD_READ")
	if _, err := os.ReadFile("testdata/read.txt"); err != nil {
		t.Fatal(err)
	}
}
"""
_CGO = """package cg

// #include "inside.h"
// #include "../outside/outside.h"
// static int number(void) { return INSIDE + OUTSIDE; }
import "C"

// Number is made by C.
func Number() int { return int(C.number()) }
"""
_CGO_TEST = """package cg

import "testing"

func TestNumber(t *testing.T) {
	if Number() == 0 {
		t.Fatal("zero")
	}
}
"""


def sample_files(*, cgo: bool = True) -> dict[str, bytes]:
    """Content of every file, by its name below the module's directory.

    Args:
        cgo: With the package that needs a C compiler.
    """
    files = {
        "go.mod": f"module {MODULE}\n\ngo 1.20\n\nrequire {EXTERNAL} {VERSIONS[0]}\n",
        "main.go": _MAIN.format(module=MODULE, external=EXTERNAL),
        **{f"a/{name}": text for name, text in subject_files("a").items()},
        "a/a_test.go": _TEST,
        "a/tagged_test.go": _TAGGED_TEST.format(tag=TAG),
        "a/testdata/read.txt": "read by a test\n",
        "a/testdata/other.txt": "not read by a test\n",
        **{f"b/{name}": text for name, text in dependent_files("b", f"{MODULE}/a").items()},
        "c/c.go": _C.format(module=MODULE),
        "c/text.txt": "embedded\n",
    }
    if cgo:
        files |= {
            "cg/cg.go": _CGO,
            "cg/cg_test.go": _CGO_TEST,
            "cg/inside.h": "#define INSIDE 1\n",
            "outside/outside.h": "#define OUTSIDE 2\n",
        }
    return {name: text.encode() for name, text in files.items()}


def subject_files(package: str) -> dict[str, str]:
    """What the package that is edited holds, or gets planted.

    Args:
        package: Its package name.
    """
    return {PROBE: _SUBJECT.format(package=package), TAGGED: _TAGGED.format(package=package, tag=TAG)}


def dependent_files(package: str, subject: str) -> dict[str, str]:
    """What a package that imports it holds, or gets planted.

    Args:
        package: Its package name.
        subject: Import path of the package that is edited.
    """
    return {PROBE: _DEPENDENT.format(package=package, subject=subject)}


def external_files(version: str) -> dict[str, bytes]:
    """Content of one version of the module that it needs."""
    word = "other" if version == VERSIONS[2] else "word"
    source = f'package ext\n\n// Word is what main prints.\nfunc Word() string {{ return "{word}" }}\n'
    return {"go.mod": f"module {EXTERNAL}\n\ngo 1.20\n".encode(), "ext.go": source.encode()}


def profile() -> bytes:
    """A CPU profile in which main.main calls c.Hot on its first line, as pprof writes it, not compressed.

    Source: github.com/google/pprof/proto/profile.proto; cmd/compile wants two sample types and `start_line`.
    """
    strings = ("", "samples", "count", "cpu", "nanoseconds", "main.main", f"{MODULE}/c.Hot", "main.go")
    called, calls = _number(1, 1) + _field(4, _number(1, 1) + _number(2, 16)), _number(1, 2)
    calls += _field(4, _number(1, 2) + _number(2, 10))
    return b"".join(
        (
            _field(1, _number(1, 1) + _number(2, 2)),
            _field(1, _number(1, 3) + _number(2, 4)),
            _field(2, _field(1, bytes((1, 2))) + _field(2, bytes((100, 100)))),
            _field(4, called),
            _field(4, calls),
            _field(5, _number(1, 1) + _number(2, 6) + _number(3, 6) + _number(4, 7) + _number(5, 16)),
            _field(5, _number(1, 2) + _number(2, 5) + _number(3, 5) + _number(4, 7) + _number(5, 10)),
            *(_field(6, text.encode("ascii")) for text in strings),
        )
    )


def _number(field: int, value: int) -> bytes:
    """A small number, below 128, of a protocol buffer."""
    return bytes((field << 3, value))


def _field(field: int, data: bytes) -> bytes:
    """Fewer than 128 bytes, likewise."""
    return bytes((field << 3 | 2, len(data))) + data
