"""No bytes make the readers fail, and what stands in texts and comments never counts."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

PIECES = st.sampled_from(
    [
        *(
            b"import io.opentracing.Tracer;",
            b"import opentracing\n",
            b'import "github.com/opentracing/opentracing-go"\n',
        ),
        *(
            b"tracer.buildSpan(",
            b".start()",
            b"span.finish()",
            b"'",
            b'"',
            b"/*",
            b"#",
            b"`",
            b"{",
            b")",
            b"\x00",
            b"\xff",
        ),
        *(b"with a as", b"a, b := c", b"x = ", b"\n", b"(" * 50, b"f(" * 20, b"from opentracing import ", b"as_"),
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=25).map(b"".join))
def test_hostile_bytes_give_findings_or_damage_and_no_failure(content: bytes) -> None:
    from go_cache_safeguard.debt import golang, java, python

    lines = content.split(b"\n")
    for read in (java.read, golang.read, python.read):
        reading = read("a", content)
        assert 0 <= reading.damage <= len(lines)
        for one in reading.findings:
            assert 1 <= one.line <= len(lines)
            assert 1 <= one.column <= len(lines[one.line - 1]) + 1
            assert re.fullmatch("[0-9a-f]{16}", one.line_hash)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_characters='"\\*/\n\r\0`', exclude_categories=["Cc"]), max_size=30))
def test_texts_and_comments_never_count(noise: str) -> None:
    from go_cache_safeguard.debt import golang, java, python

    said = f"{noise} import io.opentracing.Tracer; tracer.buildSpan().start(); opentracing.global_tracer() {noise}"
    sources = {
        java.read: f'/* {said} */ class A {{ String a = "{said}"; }} // {said}',
        golang.read: f'package a\n// {said}\nvar a = "{said}"\nvar b = `{said}`\n',
        python.read: f'"""{said} """\n# {said}\na = "{said}"\n',
    }
    for read, text in sources.items():
        assert read("a", text.encode()).findings == ()
