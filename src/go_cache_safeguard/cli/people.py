"""`serve people` and `serve token`: who may come in, as what, and with which API tokens.

Knows:     how a password is asked for, and where a new secret goes: into a new file of its owner.
Called by: `cli.serve`.
Never:     takes a password or a token from the command line, or prints one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from go_cache_safeguard.cli import options
from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from go_cache_safeguard.approval.voter import Role
    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.web.office import Office

_Word = TypeVar("_Word", bound=StrEnum)

app = typer.Typer(help="People who may come in: add, list, disable, link, roles, password, totp.", no_args_is_help=True)
tokens = typer.Typer(help="API tokens of people: add, list, revoke.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A person of `serve`.")]
Principal = Annotated[
    str,
    typer.Argument(
        metavar="PRINCIPAL",
        help="uid:1000, uid:1000@HOST, oidc:ISSUER#SUBJECT, slack:TEAM/USER; none or none@HOST: no account there.",
    ),
]
Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME", help="Whose people, where there are several tenants.")]
RoleWords = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="ROLE", help="requester, approver or auditor. Repeatable."),
]
New = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A new file; only you can read it.")]


@app.command()
def add(
    name: Name,
    *,
    role: RoleWords = None,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Add a person. They come in when they have a password, or a link to the identity provider."""
    with _office(tenant, settings, state_dir) as (office, _):
        office.add(name, _roles(role or []))
    typer.echo(
        f"{name} was added; next: `serve people password {name}`, or `serve people link {name} oidc:ISSUER#SUBJECT`"
    )


@app.command("list")
def list_(
    *,
    json: options.Json = False,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """List all people, with roles and links."""
    with _office(tenant, settings, state_dir, json=json) as (office, screen):
        people = office.everybody()
    if json:
        value = [
            {
                "name": it.name,
                "roles": sorted(it.roles),
                "active": it.active,
                "links": list(it.links),
                "password": it.has_password,
                "totp": it.has_totp,
            }
            for it in people
        ]
        screen.document("people", 1, {"people": value})
        return
    if not people:
        screen.line("nobody may come in; `serve people add NAME --role approver` lets somebody")
        return
    rows = [
        (
            it.name,
            " ".join(sorted(it.roles)) or "none",
            "yes" if it.active else "no",
            "with code" if it.has_password and it.has_totp else "yes" if it.has_password else "no",
            " ".join(it.links),
        )
        for it in people
    ]
    screen.table(("name", "roles", "let in", "password", "links"), rows)


@app.command()
def disable(
    name: Name, *, tenant: Tenant = "", settings: options.Settings = None, state_dir: options.StateDir = None
) -> None:
    """Let somebody in no more: their sessions end, their tokens count no more."""
    with _office(tenant, settings, state_dir) as (office, _):
        office.admit(name, active=False)
    typer.echo(f"{name} is let in no more")


@app.command()
def enable(
    name: Name, *, tenant: Tenant = "", settings: options.Settings = None, state_dir: options.StateDir = None
) -> None:
    """Let somebody in again."""
    with _office(tenant, settings, state_dir) as (office, _):
        office.admit(name, active=True)
    typer.echo(f"{name} is let in again")


@app.command()
def link(
    name: Name,
    principal: Principal,
    *,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Say which other account is the same person's, so that nobody approves what they asked for under another name."""
    with _office(tenant, settings, state_dir) as (office, _):
        office.link(name, principal)
    typer.echo(f"{principal} is {name}")


@app.command("unlink")
def disown(
    name: Name,
    principal: Principal,
    *,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Take an account away from somebody."""
    with _office(tenant, settings, state_dir) as (office, _):
        office.disown(name, principal)
    typer.echo(f"{principal} is no longer {name}")


@app.command()
def roles(
    name: Name,
    *,
    role: RoleWords = None,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Have somebody hold the roles given with --role, and no others; their sessions end."""
    wanted = _roles(role or [])
    with _office(tenant, settings, state_dir) as (office, _):
        office.give_roles(name, wanted)
    typer.echo(f"{name} is {', '.join(sorted(wanted)) or 'nothing'}")


@app.command()
def password(
    name: Name,
    *,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file", metavar="FILE", help="Readable by you only; default: asked for, or read from stdin."
        ),
    ] = None,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Give somebody a password; their sessions end."""
    secret = _secret(password_file)
    with _office(tenant, settings, state_dir) as (office, _):
        office.set_password(name, secret)
    typer.echo(f"{name} has a new password")


@app.command()
def totp(
    name: Name,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file for the secret, as a URL that devices read."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Ask for no code any more.")] = False,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Ask somebody for a code of their device as well, from now on."""
    from go_cache_safeguard.flows.private_file import new_private

    if off == (output is not None):
        raise UsageFailure("give either --output FILE or --off", not_done="nothing was changed")
    with _office(tenant, settings, state_dir) as (office, _):
        if output is None:
            office.no_code(name)
        else:
            office.new_code(name, lambda secret: new_private(output, secret))
    typer.echo(
        f"{name} needs no code"
        if off
        else f"the secret for the device of {name} is in {output}; remove it when it is read"
    )


@tokens.command("add")
def mint(
    name: Name,
    *,
    output: New,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", metavar="SCOPE", help="read, request, approve, audit or metrics. Repeatable; default: read."
        ),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it counts, at most 366d.")
    ] = "90d",
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """Mint an API token, into a new file."""
    from go_cache_safeguard.flows.private_file import new_private
    from go_cache_safeguard.web.site import Scope

    scopes = [_word(Scope, word, "--scope") for word in scope or ["read"]]
    lifetime_s = options.duration(expires, "--expires") or 0
    with _office(tenant, settings, state_dir) as (office, _):
        token = office.mint(name, scopes, lifetime_s, lambda secret: new_private(output, secret))
    typer.echo(f"the token {token.id} is in {output}")


@tokens.command("list")
def list_tokens(
    *,
    json: options.Json = False,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """List all API tokens, without their secrets."""
    from datetime import UTC, datetime

    with _office(tenant, settings, state_dir, json=json) as (office, screen):
        found = office.tokens()
    if json:
        value = [
            {"id": it.id, "name": it.name, "scopes": sorted(it.scopes), "made_s": it.made_s, "expires_s": it.expires_s}
            for it in found
        ]
        screen.document("tokens", 1, {"tokens": value})
        return
    if not found:
        screen.line("there are no API tokens")
        return
    ends = [datetime.fromtimestamp(it.expires_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for it in found]
    rows = [(it.id, it.name, " ".join(sorted(it.scopes)), end) for it, end in zip(found, ends, strict=True)]
    screen.table(("token", "person", "scopes", "ends"), rows)


@tokens.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id; see `serve token list`.")],
    *,
    tenant: Tenant = "",
    settings: options.Settings = None,
    state_dir: options.StateDir = None,
) -> None:
    """End an API token."""
    with _office(tenant, settings, state_dir) as (office, _):
        office.revoke(token)
    typer.echo(f"{token} counts no more")


@contextmanager
def _office(
    tenant: str, settings: list[str] | None, state_dir: str | None, *, json: bool = False
) -> "Iterator[tuple[Office, Screen]]":
    from go_cache_safeguard.cli.extra import need_extra
    from go_cache_safeguard.cli.screen import Screen

    need_extra("go_cache_safeguard.web.opening")
    from go_cache_safeguard.web.opening import open_office

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    with open_office(session, tenant) as office:
        yield office, Screen(as_json=json, color=session.config.choice("output.color"))


def _roles(words: list[str]) -> "list[Role]":
    from go_cache_safeguard.approval.voter import Role

    return [_word(Role, word, "--role") for word in words]


def _word(kind: type[_Word], word: str, option: str) -> _Word:
    try:
        return kind(word)
    except ValueError as error:
        known = ", ".join(map(str, kind))
        raise UsageFailure(f"{option} {word!r} is none of {known}", not_done="nothing was changed") from error


def _secret(path: Path | None) -> str:
    """A password: from a file of its owner, from stdin, or typed twice without being shown."""
    if path is not None:
        from go_cache_safeguard.flows.private_file import private_text

        return private_text(str(path), f"--password-file {path}")
    if not sys.stdin.isatty():
        return sys.stdin.readline(4096).rstrip("\r\n")
    from getpass import getpass

    first = getpass("Password (not shown): ")
    if getpass("Once more: ") != first:
        raise UsageFailure("the two are not alike", not_done="nothing was changed")
    return first
