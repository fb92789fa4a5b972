"""Keeps the boards of services true: looks at their signals, and where a state changed commits it and tells Slack.

Knows:     in which order things happen, and that a webhook is only a hint to look now.
Called by: `cli.signals_board`, `flows.board_hook`, `web.board`.
Never:     believes an alert: signals are asked for again before anything is changed; commits without a change of state.
"""

import queue
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from go_cache_safeguard.approval.notify import NotSent, post
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import Failure
from go_cache_safeguard.flows.board_git import Clone, GitAway
from go_cache_safeguard.flows.golden import Source, limits_of, window_ns
from go_cache_safeguard.flows.slack_hook import slack_hook
from go_cache_safeguard.signals.board import (
    Damaged,
    Panel,
    Place,
    State,
    inserted,
    panel_of,
    parse_places,
    slack_message,
    state_in,
    subject,
)
from go_cache_safeguard.signals.golden import FAILING

README = "README.md"
CALM_S = 60.0
"""All services are looked at that often, hint or not: a webhook may be lost."""
TROUBLED_S = 3.0
"""Those that are not green are looked at that often, so that they become green again."""
_AGAIN_S = 1.0
_TELLING_S = 5.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one board.

    Attributes:
        panel: What it says.
        commit: With which commit; empty if its state had not changed.
        trouble: Why it could not be committed, or Slack not be told; empty if nothing went wrong.
    """

    panel: Panel
    commit: str = ""
    trouble: str = ""


def places_of(config: Config) -> tuple[Place, ...]:
    """Services and where their boards stand.

    Raises:
        ConfigBad: `signals.board` cannot be read.
    """
    try:
        return parse_places(config.text("signals.board"), config.share("signals.error_rate").per_million / 1e6)
    except ValueError as error:
        raise ConfigBad(f"signals.board cannot be read: {error}") from error


class Board:
    """The boards of all services. Use it from one thread at a time, except `hint`."""

    def __init__(self, config: Config, source: Source, say: Callable[[str], object]) -> None:
        """Make one; nothing is asked yet.

        Args:
            config: The settings.
            source: Who knows how services do.
            say: Told what became of each board that changed or could not be kept.

        Raises:
            ConfigBad: A setting cannot be read.
        """
        self.places = {place.service: place for place in places_of(config)}
        self._limits = limits_of(config)
        self._window_s = config.seconds("signals.board_window")
        self._traces = config.text("signals.trace_url")
        self._folder = Path(config.text("state.dir")) / "signals" / "board"
        self._slack = slack_hook(config) if config.text("approval.slack_file") else None
        self._source, self._say = source, say
        self._hints: queue.SimpleQueue[frozenset[str]] = queue.SimpleQueue()

    def panels(self, services: Iterable[str] = ()) -> list[Panel]:
        """How services do now; all of them if none is named."""
        names = sorted(set(services) & set(self.places)) or sorted(self.places)
        found = self._source.look(names, *window_ns(self._window_s))
        return [panel_of(found[name], self.places[name].red, self._limits, self._traces) for name in names]

    def keep(self, services: Iterable[str] = ()) -> list[Kept]:
        """Look, and commit what changed; all services if none is named."""
        panels = self.panels(services)
        if early := [panel.golden.service for panel in panels if _is_early(panel)]:
            time.sleep(_AGAIN_S)
            seen = {panel.golden.service: panel for panel in self.panels(early)}
            panels = [seen.get(panel.golden.service, panel) for panel in panels]
        kept = [self._keep(panel) for panel in panels]
        for one in kept:
            if one.commit or one.trouble:
                self._say(f"{subject(one.panel)} {one.commit[:12]} {one.trouble}".strip())
        return kept

    def _keep(self, panel: Panel) -> Kept:
        place = self.places[panel.golden.service]

        def edit(readme: bytes) -> bytes | None:
            if state_in(readme) is panel.state:
                return None
            made = inserted(readme, panel)
            if isinstance(made, Damaged):
                raise GitAway(f"{README} of {place.repository}: {made.why}", not_done="it was left alone")
            return made

        try:
            change = Clone(self._folder, place.repository, place.branch).change(README, edit, subject(panel))
        except Failure as failure:
            return Kept(panel, trouble=failure.what)
        return Kept(panel, change.commit, self._tell(panel) if change.commit else "")

    def _tell(self, panel: Panel) -> str:
        """Why Slack could not be told; empty if it was, or is not wanted."""
        if self._slack is None:
            return ""
        answer = post(self._slack, slack_message(panel), timeout_s=_TELLING_S)
        return f"Slack was not told: {answer.why}" if isinstance(answer, NotSent) else ""

    def hint(self, services: frozenset[str]) -> None:
        """Somebody says that it is time to look. From any thread."""
        self._hints.put(services)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Look when hinted at, at what is not green, and at all now and then, until stopped."""
        troubled = self._troubled(self.keep(), frozenset())
        calm_at = time.monotonic() + CALM_S
        while not stopped():
            hinted = self._hinted(
                min(TROUBLED_S if troubled else CALM_S, max(0.0, calm_at - time.monotonic())), stopped
            )
            if stopped():
                return
            if time.monotonic() >= calm_at:
                calm_at, looked = time.monotonic() + CALM_S, frozenset(self.places)
            else:
                looked = hinted | troubled
            if looked:
                troubled = self._troubled(self.keep(looked), troubled - looked)

    def _hinted(self, wait_s: float, stopped: Callable[[], bool]) -> frozenset[str]:
        """Everything that was hinted at by now; waits for the first hint."""
        end, found = time.monotonic() + wait_s, frozenset[str]()
        while not found and time.monotonic() < end and not stopped():
            with suppress(queue.Empty):
                found = self._hints.get(timeout=min(0.5, max(0.01, end - time.monotonic())))
        with suppress(queue.Empty):
            while True:
                found |= self._hints.get_nowait()
        return found

    @staticmethod
    def _troubled(kept: Iterable[Kept], others: frozenset[str]) -> frozenset[str]:
        return others | {one.panel.golden.service for one in kept if one.panel.state is not State.GREEN or one.trouble}


def _is_early(panel: Panel) -> bool:
    """Whether another look may tell more: an answer that was lost once is no change of state, and traces come after counts."""
    few = len(panel.golden.failing) < min(FAILING, panel.golden.errors)
    return panel.state is State.UNKNOWN or (panel.state is State.RED and few)
