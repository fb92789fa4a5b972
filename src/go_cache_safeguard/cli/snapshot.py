"""`snapshot`: copies of caches that can be checked.

Knows:     the arguments of its commands and how what they did is shown.
Called by: `cli.app`.
Never:     reads or writes a snapshot.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from go_cache_safeguard.cli import options, repository, restore
from go_cache_safeguard.cli.doctor import exit_code
from go_cache_safeguard.core.errors import UsageFailure
from go_cache_safeguard.core.size import format_size

if TYPE_CHECKING:
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.snapshot import Checked, Created

app = typer.Typer(
    help="Copies of caches: the same cache gives the same bytes, on any day, in any place.", no_args_is_help=True
)

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write one archive here, with FILE.manifest.sha256 beside it."),
]
ModCache = Annotated[
    Path | None, typer.Option("--modcache", metavar="DIR", help="Of this module cache, instead of a build cache.")
]
Modules = Annotated[
    bool,
    typer.Option("--modules", help="Of the module cache that `go env GOMODCACHE` names, instead of a build cache."),
]
_SKIPPED_SHOWN = 10

repository.register(app)
app.command()(restore.restore)


@app.command()
def create(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="A plan file: only the entries that it would remove.")
    ] = None,
    *,
    output: Output = None,
    zstd: Annotated[bool, typer.Option("--zstd", help="Compress it; implied by a FILE that ends in .zst.")] = False,
    digest: Annotated[
        bool, typer.Option("--sha256", help="Hash the archive itself, too, into FILE.sha256: takes half as long again.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option("--sign", metavar="KEY", help="Sign its manifest with this private key; see `snapshot keygen`."),
    ] = None,
    modules: Modules = False,
    modcache: ModCache = None,
    gocache: options.GoCache = None,
    repo: repository.Repo = None,
    tags: repository.Tags = None,
    append_only: Annotated[
        bool, typer.Option("--append-only", help="If the repository is new: never remove anything from it.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Copy a build cache, a plan's entries or the module cache into a repository, or with -o into one archive.

    Builds may go on meanwhile. The archive is complete or absent, holds a SHA-256 of every file, and `tar` and `sha256sum -c`
    alone can check and unpack it.
    """
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows import snapshot

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    subject = snapshot.subject_of(session, plan=plan, gocache=gocache, modcache=modcache, modules=modules)
    if output is None:
        if digest:
            raise UsageFailure("--sha256 is for an archive, with -o", not_done="nothing was written")
        repository.create(session, subject, repo=repo, tags=tags, append_only=append_only, key=key, json=json)
        return
    if repo is not None or tags or append_only:
        raise UsageFailure(
            "-o writes a file, --repo, --tag and --append-only are for a repository", not_done="nothing was written"
        )
    compress = zstd or output.name.endswith(".zst")
    created = snapshot.create(session, subject, session.cwd / output, compress=compress, digest=digest, key=key)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("snapshot-create", 1, _created_value(created))
    else:
        _show_created(screen, created)


@app.command()
def verify(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|ID]", help="An archive, or the id of a snapshot in the repository, or `latest`."),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every snapshot in the repository.")] = False,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="In a repository: read and hash all contents, too.")
    ] = False,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="SHARE", help="In a repository: only this share, by chance: 5%.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Draw the sample as that run did.")] = None,
    repo: repository.Repo = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="PUB", help="Demand that the owner of this public key signed it.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Read every byte of a snapshot again and compare it with its manifest, its checksums and its signature."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows import snapshot

    session = options.session(settings=settings, state_dir=state_dir, quiet=quiet, json=json)
    if (what is None) != everything:
        raise UsageFailure("give an archive, the id of a snapshot, or --all", not_done="nothing was checked")
    in_repository = everything or read_data or sample is not None or repo is not None
    if what is None or in_repository or not (session.cwd / what).exists():
        return repository.verify(
            session, what, repo=repo, read_data=read_data, sample=sample, seed=seed, key=key, json=json
        )
    checked = snapshot.verify(session, Path(what), key=key)
    screen = Screen(as_json=json, color=session.config.choice("output.color"))
    if json:
        screen.document("snapshot-verify", 1, _checked_value(checked))
    else:
        for verdict in checked.verdicts:
            screen.verdict(verdict)
    raise typer.Exit(exit_code(list(checked.verdicts)))


@app.command()
def keygen(
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="KEY", help="The private key; the public one gets the name KEY.pub."),
    ],
    json: options.Json = False,
) -> None:
    """Make a pair of Ed25519 keys to sign snapshots with. No file is overwritten, and no key is shown."""
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.snapshot import make_key_files, read_key
    from go_cache_safeguard.snapshot.signature import fingerprint

    private, public = make_key_files(output)
    print_ = fingerprint(read_key(public))
    screen = Screen(as_json=json)
    if json:
        screen.document("snapshot-keygen", 1, {"private": str(private), "public": str(public), "fingerprint": print_})
    else:
        screen.line(f"{private}: the private key; keep it secret")
        screen.line(f"{public}: the public key; give it to whoever checks snapshots")
        screen.line(f"fingerprint of the public key: {print_}")


def _show_created(screen: "Screen", created: "Created") -> None:
    manifest = created.manifest
    screen.line(
        f"{created.path}: {len(manifest.entries):,} files, {format_size(manifest.size)}; the archive has {format_size(created.size)}"
    )
    if created.sha256 is not None:
        screen.line(f"sha256   {created.sha256}")
    screen.line(f"manifest {manifest.root}" + ("  signed" if created.signed else ""))
    skipped = manifest.skipped
    if skipped:
        screen.line(f"left out: {len(skipped):,}")
        for one in skipped[:_SKIPPED_SHOWN]:
            screen.line(f"  {one.name}: {one.why}")
        if len(skipped) > _SKIPPED_SHOWN:
            screen.line(
                f"  and {len(skipped) - _SKIPPED_SHOWN:,} more; --json and MANIFEST.json in the archive name all"
            )


def _created_value(created: "Created") -> dict[str, object]:
    manifest = created.manifest
    return {
        "file": str(created.path),
        "bytes": created.size,
        "sha256": created.sha256,
        "kind": str(manifest.kind),
        "manifest": manifest.root,
        "content": manifest.content,
        "files": len(manifest.entries),
        "content_bytes": manifest.size,
        "signed": created.signed,
        "skipped": [{"name": one.name, "why": one.why} for one in manifest.skipped],
    }


def _checked_value(checked: "Checked") -> dict[str, object]:
    manifest = checked.manifest
    known: dict[str, object] = {}
    if manifest is not None:
        known = {
            "kind": str(manifest.kind),
            "manifest": manifest.root,
            "content": manifest.content,
            "files": len(manifest.entries),
            "content_bytes": manifest.size,
        }
    return {"file": str(checked.path), **known, "verdicts": [verdict.as_value() for verdict in checked.verdicts]}
