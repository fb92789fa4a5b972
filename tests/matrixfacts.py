"""What is in Go's cache key, as it was measured by hand before there was a tool for it: what the tool says must agree.

Columns: a, b, c, main, std, cg, ext, link, test. Toolchains go1.21, go1.24 and go1.27; where they differ, the cell says how.
"""

SAME = ("==",) * 7
ALL = ("AC",) * 7
CACHED_THEN_RAN = "cached (1.21), ran (1.24 1.27)"

FACTS: dict[str, tuple[str, ...]] = {
    "again": (*SAME, "no", "cached"),
    "touch": (*SAME, "no", "cached"),
    "gotmpdir": (*SAME, "no", "cached"),
    "parallel": (*SAME, "no", "cached"),
    "verbose": (*SAME, "no", "ran"),
    "copied-cache": (*SAME, "no", "cached"),
    "env-unread": (*SAME, "no", "cached"),
    "comment-end": ("A=", "==", "==", "==", "==", "==", "==", "no", "cached"),
    "comment-word": ("A=", "==", "==", "==", "==", "==", "==", "no", "cached"),
    "comment-shift": ("AC", "AC", "AC", "AC", "==", "==", "==", "yes", "ran"),
    "body": ("AC", "A=", "==", "==", "==", "==", "==", "yes", "ran"),
    "body-inlined": ("AC", "AC", "AC", "AC", "==", "==", "==", "yes", "cached"),
    "const": ("AC", "AC", "AC", "AC", "==", "==", "==", "yes", "cached"),
    "func-exported": ("AC", "AC", "A=", "==", "==", "==", "==", "yes", "cached"),
    "test-comment": (*SAME, "no", "cached"),
    "test-touch": (*SAME, "no", "cached"),
    "embed": ("==", "==", "AC", "A=", "==", "==", "==", "yes", "cached"),
    "header-outside": (*SAME, "no", "cached"),
    "gomod-comment": (*SAME, "no", "cached"),
    "go-line": ("A=", "A=", "A=", "A=", "==", "A=", "==", "yes", "ran"),
    "godebug-line": ("==", "==", "==", "AC", "==", "==", "==", "yes", "cached"),
    "gosum": (*SAME, "no", "cached"),
    "dependency-same": ("==", "==", "==", "AC", "==", "==", "AC", "yes", "cached"),
    "dependency-other": ("==", "==", "==", "AC", "==", "==", "AC", "yes", "cached"),
    "vendor": ("==", "==", "==", "AC", "==", "==", "AC", "yes", "cached"),
    "race": (*ALL, "yes", "ran"),
    "tags-unknown": ("==", "==", "==", "A=", "==", "==", "==", "yes", CACHED_THEN_RAN),
    "tags": ("AC", "AC", "A=", "A=", "==", "==", "==", "yes", "ran"),
    "ldflags": ("==", "==", "==", "A=", "==", "==", "==", "yes", CACHED_THEN_RAN),
    "gcflags": ("==", "==", "==", "AC", "==", "AC", "==", "yes", "ran"),
    "gcflags-pattern": ("AC", "A=", "==", "A=", "==", "==", "==", "yes", CACHED_THEN_RAN),
    "gcflags-all": (*ALL, "yes", "ran"),
    "asmflags": ("==", "==", "==", "A=", "==", "==", "==", "yes", CACHED_THEN_RAN),
    "trimpath": (*ALL, "yes", "ran"),
    "buildmode-pie": (*ALL, "yes", "ran"),
    "cover": ("AC", "AC", "AC", "AC", "==", "AC", "==", "yes", "-"),
    "cgo-enabled": ("==", "==", "==", "A=", "==", "-", "==", "yes", CACHED_THEN_RAN),
    "cgo-cflags": ("==", "==", "==", "A=", "==", "AC", "==", "yes", CACHED_THEN_RAN),
    "goamd64": (*ALL, "yes", "ran"),
    "goexperiment": (*ALL, "yes", "ran"),
    "godebug": (*SAME, "no", CACHED_THEN_RAN),
    "moved": ("AC", "AC", "AC", "AC", "==", "AC", "==", "yes", "ran"),
    "moved-trimpath": (*SAME, "no", "-"),
    "vcs-commit": ("==", "==", "==", "A=", "==", "==", "==", "yes", "cached"),
    "vcs-dirty": ("==", "==", "==", "A=", "==", "==", "==", "yes", "cached"),
    "test-env": (*SAME, "no", "ran"),
    "test-data": (*SAME, "no", "ran"),
    "test-data-touch": (*SAME, "no", "ran"),
    "test-data-kept": (*SAME, "no", "cached"),
    "test-data-other": (*SAME, "no", "cached"),
}

BESIDE = {
    "goarch": "no cg, and nothing that could be run",
    "goflags-tags": "its test was cached by `tags` before, so none is run",
    "header-inside": "the test was that of a; here it is that of cg, which is told of the header",
    "pgo": "what it does depends on the profile: another one was used",
    "func-private": "the function that was added was seen by its importer; here it is not",
}
"""Dimensions that were measured otherwise, and how."""


def of_release(cell: str, release: int) -> str:
    """One release's part of a cell: `ran` of `cached (1.21), ran (1.24 1.27)`."""
    for part in cell.split(", "):
        text, _, named = part.partition(" (")
        if not named or f"1.{release}" in named.rstrip(")").split():
            return text
    return cell
