"""Compile the rule file for the engines that run elsewhere: a Collector's configuration, Jaeger's sampling strategies.

Knows:     how the rule file is read, and how a Collector is asked whether it understands its configuration.
Called by: `cli.traces_collector`.
Never:     starts a Collector, or overwrites a file.
Source:    `otelcol validate --config FILE`: exit code 0 if every component takes its settings.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.signals.collector import Document, Places, balancer, collector
from go_cache_safeguard.signals.strategies import strategies
from go_cache_safeguard.snapshot.outfile import write_text
from go_cache_safeguard.telemetry.rules import RuleFile, read_rules

_PATIENCE_S = 60
_HEAD = "# Made by traces collector-config of go-cache-safeguard; change the rule file instead.\n"


class CollectorRefuses(Failure):
    """A Collector does not understand the configuration that was made for it."""

    id = "collector-refuses"
    exit_code: ClassVar[ExitCode] = ExitCode.TARGET
    meaning = "the Collector at hand refuses the configuration"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made of a rule file.

    Attributes:
        rules: The rule file.
        level: How generous adaptive rules are, 0 (`least`) to 1 (`most`).
        places: Where the Collector listens and sends to; with `next` it is one of the first tier.
    """

    rules: Path
    level: float
    places: Places


def configuration(wish: Wish) -> str:
    """A Collector's configuration, as YAML.

    Raises:
        RulesBad: The rule file cannot be understood.
        ConfigBad: It cannot be read.
        NotForCollector: The Collector would understand it otherwise.
    """
    rules = rules_in(wish.rules)
    made = balancer(wish.places) if wish.places.next else collector(rules, wish.level, wish.places)
    return as_yaml(made)


def sampling(rules: Path, level: float, services: tuple[str, ...]) -> str:
    """Jaeger's file of strategies, as JSON.

    Raises:
        RulesBad: The rule file cannot be understood.
        ConfigBad: It cannot be read.
    """
    return json.dumps(strategies(rules_in(rules), level, services), indent=2, ensure_ascii=False) + "\n"


def rules_in(path: Path) -> RuleFile:
    """A rule file.

    Raises:
        RulesBad: It cannot be understood.
        ConfigBad: It cannot be read.
    """
    try:
        return read_rules(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigBad(f"{path} cannot be read: {error.strerror or error}") from error


def as_yaml(document: Document) -> str:
    """A configuration, in the order in which it was made."""
    import yaml  # noqa: PLC0415 - loaded where used

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1_000_000)
    return _HEAD + text


def validate(text: str, binary: Path) -> None:
    """Ask a Collector whether it understands a configuration; it starts nothing and listens nowhere.

    Raises:
        CollectorRefuses: It does not, or cannot be asked.
    """
    import subprocess  # noqa: PLC0415 - loaded where used

    with TemporaryDirectory(prefix="go-cache-safeguard-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                [str(binary), "validate", f"--config=file:{file}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_PATIENCE_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _refuses(binary, f"cannot be asked: {error}") from error
    if done.returncode:
        raise _refuses(binary, done.stderr.decode("utf-8", "replace").strip() or f"ended with {done.returncode}")


def _refuses(binary: Path, why: str) -> CollectorRefuses:
    return CollectorRefuses(
        f"{binary}: {why}",
        not_done="nothing was written",
        hint="docs/collector.md tells which components it must have, and the version that was tried",
    )


def write(path: Path, text: str) -> None:
    """Write what was compiled to a file that is complete or absent.

    Raises:
        UsageFailure: There is such a file, or it cannot be written.
    """
    write_text(path, text, what="configuration")
