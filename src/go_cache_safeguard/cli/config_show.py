"""`config`: every setting, its value, and where that came from.

Knows:     how settings are listed.
Called by: `cli.app`.
Never:     changes a setting.
"""

import typer

from go_cache_safeguard.cli import options

app = typer.Typer(help="Settings and where they come from.", no_args_is_help=True)


@app.command()
def show(*, json: options.Json = False, settings: options.Settings = None, state_dir: options.StateDir = None) -> None:
    """Show every setting with its value and its origin."""
    from go_cache_safeguard.cli.screen import Screen

    session = options.session(settings=settings, state_dir=state_dir, json=json)
    config = session.config
    screen = Screen(as_json=json, color=config.choice("output.color"))
    keys = sorted(config.texts)
    if json:
        rows = [
            {"key": k, "value": config.texts[k], "layer": str(config.origin(k).layer), "where": config.origin(k).where}
            for k in keys
        ]
        screen.document("config", 1, {"settings": rows, "state_dir": str(session.state_dir)})
        return
    screen.table(
        ("setting", "value", "origin"),
        [(k, config.texts[k] or '""', f"{config.origin(k).layer} {config.origin(k).where}".strip()) for k in keys],
    )
    screen.line()
    screen.line(f"state directory in use: {session.state_dir}")
