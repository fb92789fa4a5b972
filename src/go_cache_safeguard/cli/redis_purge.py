"""What `redis purge` and `redis flush --gate` have besides other removals: a gate, a forecast, and rows of waves.

Knows:     their options, and how waves are shown before and after.
Called by: `cli.redis_keys`; `cli.operations` shows the rows too.
Never:     begins a wave without services that are watched.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from go_cache_safeguard.core.errors import UsageFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from go_cache_safeguard.cli.screen import Screen
    from go_cache_safeguard.flows.redis_plan import Survey
    from go_cache_safeguard.flows.session import Session

_MS = 1_000


@dataclass(frozen=True)
class Gating:
    """Who watches, and whom: the group of `purge` and `flush`."""

    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="SOURCE",
            help="Go in waves, each judged: store, prometheus, prometheus:URL, builds, builds:PLACE, or what the settings say.",
        ),
    ] = None
    dependents: Annotated[
        str | None,
        typer.Option(
            "--dependents",
            metavar="NAMES",
            help="Services that depend on the keys, with commas; else signals.dependents.",
        ),
    ] = None
    first: Annotated[int | None, typer.Option("--first", metavar="N", help="Keys of the first wave.")] = None
    settle: Annotated[
        str | None, typer.Option("--settle", metavar="TIME", help="How long each wave is watched at least.")
    ] = None
    sampling_port: Annotated[
        int | None,
        typer.Option("--sampling-port", metavar="PORT", help="Answer SDKs at 127.0.0.1 what is to be sampled."),
    ] = None

    @property
    def settings(self) -> list[str]:
        """As settings for this run."""
        pairs = (
            ("signals.wave_first", self.first),
            ("signals.wave_settle", self.settle),
            ("signals.sampling_port", self.sampling_port),
        )
        return [f"{key}={value}" for key, value in pairs if value is not None]


def gated(session: "Session", found: "Survey", gating: Gating) -> "Survey":
    """The same plan, to go in waves.

    Raises:
        UsageFailure: Nobody knows which services depend on the keys, or what SOURCE means.
        ConfigBad: The source or the table of services cannot be used.
    """
    from go_cache_safeguard.flows.builds import is_builds, namespaces_of
    from go_cache_safeguard.flows.golden import source_of
    from go_cache_safeguard.flows.purge_waves import Watched, dependents_of, in_waves
    from go_cache_safeguard.redis.keyname import parse_place

    source = _source(session, gating.gate or "")
    source_of(session.config, source)
    if gating.dependents is not None:
        services = tuple(sorted({name for name in gating.dependents.split(",") if name}))
    else:
        keys = (parse_place(item.name)[1] for item in found.plan.items)
        services = namespaces_of(keys) if is_builds(source) else dependents_of(session.config, keys)
    if found.plan.items and not services:
        raise UsageFailure(
            "nobody knows which services depend on these keys",
            not_done="nothing was removed",
            hint="name them: --dependents shop,search, or the setting signals.dependents",
        )
    return replace(found, plan=in_waves(found.plan, Watched(source, services)))


def _source(session: "Session", gate: str) -> str:
    kind, _, url = gate.partition(":")
    if gate in {"", "store"} or kind == "builds":
        return gate
    if kind == "prometheus":
        from go_cache_safeguard.cli.extra import need_extra

        need_extra("httpx", command="redis purge --gate prometheus", extra="signals")
        known = url or session.config.text("signals.prometheus")
        if known:
            return known
    raise UsageFailure(
        f"--gate {gate} is neither store, prometheus:URL nor builds:PLACE",
        not_done="nothing was removed",
        hint="prometheus alone means the setting signals.prometheus",
    )


def tell_forecast(screen: "Screen", session: "Session", found: "Survey") -> None:
    """What the waves will be, if the gate never objects."""
    from go_cache_safeguard.flows.purge_waves import watched_of

    value = forecast_of(session, found)
    sizes = ", ".join(f"{size:,}" for size in value["sizes"])
    more = ", ..." if value["waves"] > len(value["sizes"]) else ""
    screen.line(f"  waves         {value['waves']:,}, at least {value['took_ms'] / _MS:.0f} s: {sizes}{more} keys")
    screen.line(f"  watched       {', '.join(watched_of(found.plan.selectors).services)}")


def forecast_of(session: "Session", found: "Survey") -> dict[str, Any]:
    """The same for `--json`."""
    from go_cache_safeguard.flows.purge_waves import terms_of
    from go_cache_safeguard.signals.waves import forecast

    settle_s = session.config.seconds("signals.wave_settle")
    return dict(forecast(len(found.plan.items), terms_of(session.config), settle_s).as_value())


def waves_of(session: "Session", op: str) -> "Sequence[Mapping[str, Any]]":
    """What became of each wave of an operation; nothing if it did not go in waves."""
    from go_cache_safeguard.flows.purge_waves import told_waves

    with session.journal(read_only=True) as journal:
        return told_waves(journal, op)


def tell_waves(screen: "Screen", waves: "Sequence[Mapping[str, Any]]") -> None:
    """One line for each."""
    for row in waves:
        verdict = str(row["verdict"]).lower().replace("_", " ")
        back = f", {row['back']:,} put back" if "back" in row else ""
        screen.line(
            f"  wave {row['wave']:<8} {row['moved']:,} of {row['keys']:,} keys, {verdict}{back}: {row['reasons'][0]}"
        )
        for trace in row["traces"][:3]:
            screen.line(f"    failing     {trace}")


def as_rows(waves: "Sequence[Mapping[str, Any]]") -> list[dict[str, Any]]:
    """For `--json`: what a wave did, without where the purge stood."""
    return [{key: value for key, value in row.items() if key not in {"course", "baseline_s"}} for row in waves]
