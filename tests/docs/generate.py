"""Write the pages of the docs that are printed from tables: `make docs`. Beside it, tests compare them."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import go_cache_safeguard
from go_cache_safeguard.approval.evidence import schema_of_pack
from go_cache_safeguard.approval.voter import Role
from go_cache_safeguard.config.document import config_page, exit_codes_page, lifecycle_table
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.gocache.cilint import RULES
from go_cache_safeguard.redis.document import commands_page
from go_cache_safeguard.redis.tablefile import load_table
from go_cache_safeguard.telemetry.names import ATTRIBUTES, METRICS, SPANS, About
from go_cache_safeguard.web import api
from go_cache_safeguard.web.site import MATRIX

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- lifecycle:begin -->\n", "<!-- lifecycle:end -->"
ROUTES = ("<!-- routes:begin -->\n", "<!-- routes:end -->")
CI_RULES = ("<!-- rules:begin -->\n", "<!-- rules:end -->")
COMMANDS = ("<!-- commands:begin -->\n", "<!-- commands:end -->")


def failures() -> list[type[Failure]]:
    """Every failure there is: all modules are imported, then the subclasses counted."""
    for module in pkgutil.walk_packages(go_cache_safeguard.__path__, "go_cache_safeguard."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
    return sorted(set(_below(Failure)), key=lambda failure: failure.id)


def _below(kind: type[Failure]) -> Iterator[type[Failure]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("go_cache_safeguard."):
            yield below
        yield from _below(below)


def pages() -> dict[Path, str]:
    """What each generated file should hold."""
    architecture, redis, calls, ci = (ROOT / "docs" / f"{name}.md" for name in ("architecture", "redis", "api", "ci"))
    return {
        ROOT / "docs" / "config.md": config_page(),
        ROOT / "docs" / "exit-codes.md": exit_codes_page(failures()),
        architecture: _between(architecture.read_text(), BEGIN, END, lifecycle_table()),
        redis: _between(redis.read_text(), *COMMANDS, commands_page(load_table())),
        ci: _between(ci.read_text(), *CI_RULES, rules_table()),
        calls: _between(calls.read_text(), *ROUTES, routes_table()),
        ROOT / "docs" / "telemetry.md": telemetry_page((ROOT / "docs" / "telemetry.md").read_text()),
        ROOT / "docs" / "evidence.schema.json": f"{json.dumps(schema_of_pack(), indent=2)}\n",
    }


def telemetry_page(text: str) -> str:
    """The page with every span, metric and attribute."""

    def said(about: About) -> str:
        return ", ".join(f"`{ATTRIBUTES[word].key}`" for word in about.words)

    tables = {
        "spans": [
            "| span | what it is | attributes |",
            "| --- | --- | --- |",
            *(f"| `{name}` | {about.what} | {said(about)} |" for name, about in SPANS.items()),
        ],
        "metrics": [
            "| metric | kind | unit | what it counts | labels |",
            "| --- | --- | --- | --- | --- |",
            *(
                f"| `{name}` | {about.instrument.value} | `{about.unit}` | {about.what} | {said(about)} |"
                for name, about in METRICS.items()
            ),
        ],
        "attributes": [
            "| attribute | what it says | values as a label |",
            "| --- | --- | --- |",
            *(
                f"| `{one.key}` | {one.what} | {', '.join(f'`{value}`' for value in one.values)} |"
                for one in ATTRIBUTES.values()
            ),
        ],
    }
    for name, rows in tables.items():
        text = _between(text, f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->", "\n".join(rows) + "\n")
    return text


def rules_table() -> str:
    """Every rule of `ci lint`."""
    rows = ["| rule | | what it costs | instead | seen |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| `{rule.id}` | {rule.grade} | {rule.meaning} | {rule.instead} | {rule.seen} |" for rule in RULES.values()
    ]
    return "\n".join(rows) + "\n"


def routes_table() -> str:
    """Every call of the API, with who may make it."""
    rows = ["| call | role | scope | |", "| --- | --- | --- | --- |"]
    for path, method, action, endpoint, _ in api.ROUTES:
        rule, what = MATRIX[action], str(endpoint.__doc__).partition("\n")[0].rstrip(".")
        roles = "any" if rule.roles == frozenset(Role) else ", ".join(sorted(rule.roles))
        rows.append(f"| `{method} {path}` | {roles} | {rule.scope} | {what} |")
    return "\n".join(rows) + "\n"


def _between(page: str, begin: str, end: str, text: str) -> str:
    """A page with everything between two marks replaced."""
    before, _, rest = page.partition(begin)
    return before + begin + text + end + rest.partition(end)[2]


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
