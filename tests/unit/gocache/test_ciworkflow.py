"""What a CI file has to do with Go caches."""

from hypothesis import given
from hypothesis import strategies as st

from go_cache_safeguard.gocache.ciworkflow import MOST, NotReadable, Workflow, read_workflow

GITHUB = b"""
on: {push: {}, pull_request: {}}
env: {GOFLAGS: -trimpath}
jobs:
  test:
    strategy: {matrix: {go: ['1.26', '1.27'], os: [a, b, c]}}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-go@v5
        with: {go-version: '${{ matrix.go }}', cache: false}
      - uses: actions/cache@v4
        with:
          path: |
            ~/.cache/go-build
            ~/go/pkg/mod
          key: go-${{ matrix.go }}-${{ hashFiles('**/go.sum') }}
          restore-keys: |
            go-${{ matrix.go }}-
            go-
      - run: |
          go vet ./...
          go test ./...
"""
GITLAB = b"""
variables:
  GOCACHE: $CI_PROJECT_DIR/.gobuild
  GOPATH: {value: $CI_PROJECT_DIR/.go}
.base: &base
  cache:
    key: {files: [go.sum], prefix: go}
    paths: [.gobuild, $GOPATH/pkg/mod]
    policy: pull
    fallback_keys: [go-default]
one:
  extends: [.base]
  script: [go test ./...]
two:
  <<: *base
  cache: {paths: [/root/.cache/go-build]}
  script:
    - go build
"""


def _read(data: bytes, *, gitlab: bool = False) -> Workflow:
    found = read_workflow(data, gitlab=gitlab)
    assert isinstance(found, Workflow)
    return found


def test_a_workflow_of_github_is_read_with_its_lines_and_its_matrix() -> None:
    found = _read(GITHUB)
    (use,) = found.uses
    assert (use.line, use.job, use.kind, use.saves, use.variants) == (11, "test", "actions/cache", True, 2)
    assert use.restore == ("go-${{ matrix.go }}-", "go-")
    assert use.build
    assert use.modules
    assert found.pull_requests
    assert [(script.line, script.text) for script in found.scripts] == [(21, "go vet ./..."), (22, "go test ./...")]


def test_setup_go_caches_by_itself_since_its_fourth_version() -> None:
    def kinds(step: bytes) -> list[str]:
        return [use.kind for use in _read(b"jobs: {a: {steps: [" + step + b"]}}").uses]

    assert kinds(b"{uses: actions/setup-go@v5}") == ["setup-go"]
    assert kinds(b"{uses: actions/setup-go@3041bf56c941b39c61721a86cd11f3bb1338122a}") == ["setup-go"]
    assert kinds(b"{uses: actions/setup-go@v3}") == []
    assert kinds(b"{uses: actions/setup-go@v3, with: {cache: true}}") == ["setup-go"]
    assert kinds(b"{uses: actions/setup-go@v6, with: {cache: false}}") == []


def test_gitlab_jobs_have_what_they_extend_and_variables_are_put_in() -> None:
    one, two = _read(GITLAB, gitlab=True).uses
    assert (one.job, one.saves, one.restore) == ("one", False, ("go-default",))
    assert one.key == "go hashFiles(go.sum)"
    assert one.build
    assert one.modules
    assert (two.job, two.paths, two.saves) == ("two", ("/root/.cache/go-build",), True)


def test_what_is_no_workflow_says_so() -> None:
    assert read_workflow(b"a: [", gitlab=False) is NotReadable.YAML
    assert read_workflow(b"a: 1", gitlab=False) is NotReadable.SHAPE
    assert read_workflow(b"", gitlab=True) is NotReadable.SHAPE
    assert read_workflow(b" " * (MOST + 1), gitlab=True) is NotReadable.SIZE


def test_aliases_of_aliases_do_not_eat_the_machine() -> None:
    bomb = b"a0: &a0 [x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
    )
    assert read_workflow(bomb, gitlab=True) is NotReadable.SIZE
    assert read_workflow(b"&a [*a]", gitlab=True) in set(NotReadable)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*<>|\n '\"$", max_size=120).map(str.encode), st.booleans())
def test_any_bytes_get_an_answer(data: bytes, gitlab: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    assert isinstance(read_workflow(data, gitlab=gitlab), Workflow | NotReadable)
