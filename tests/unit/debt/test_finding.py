"""What makes two findings the same, and what is debt."""

from go_cache_safeguard.debt.finding import Api, Finding, Forbid, Kind, is_forbidden, line_hash


def _one(api: Api, kind: Kind, line: int = 1) -> Finding:
    return Finding("a.py", line, 1, api, kind, "x", "00")


def test_a_line_that_moved_or_was_indented_is_the_same() -> None:
    assert line_hash(b"  span.finish()\r") == line_hash(b"\tspan.finish()")
    assert line_hash(b"span.finish()") != line_hash(b"span.finish(1)")
    assert _one(Api.OPENTRACING, Kind.START).known_by == _one(Api.OPENTRACING, Kind.START, 9).known_by


def test_an_import_of_opentelemetry_alone_is_never_debt() -> None:
    imported, made = _one(Api.OPENTELEMETRY, Kind.IMPORT), _one(Api.OPENTELEMETRY, Kind.START)
    old = _one(Api.OPENTRACING, Kind.IMPORT)
    debt = {forbid: [is_forbidden(one, forbid) for one in (imported, made, old)] for forbid in Forbid}
    assert debt == {
        Forbid.OPENTRACING: [False, False, True],
        Forbid.MANUAL: [False, True, False],
        Forbid.ALL: [False, True, True],
    }
