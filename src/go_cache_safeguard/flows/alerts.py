"""Alerts and metrics that follow the journal: pushed to an Alertmanager, and written to a file for node_exporter.

Knows:     when something has changed so that somebody is to be told, and that none of it may hold up or fail what it is about.
Called by: `flows.hooks` when something is held and while somebody delivers; the command line after a command has written.
Never:     changes anything in the journal; raises what goes wrong with an Alertmanager or a file: it is said.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from go_cache_safeguard.approval.alarm import AGAIN_S, Alert, Source, alerts_of, batches, trouble_of
from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.notify import NotSent, post
from go_cache_safeguard.approval.webhook import Target, parse_target
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.core.errors import ExitCode, Failure
from go_cache_safeguard.flows.metrics import Book, Counting
from go_cache_safeguard.flows.page_links import pages_at
from go_cache_safeguard.flows.session import Session, host_name
from go_cache_safeguard.flows.textfile import textfile_of, write_textfile

_PATH = "api/v2/alerts"
_TIMEOUT_S = 3.0
_SOON_S = 10
_JOURNAL = frozenset(code for code in ExitCode if code.name.startswith("JOURNAL"))


class Alarms:
    """Looks at the journal now and then, and tells. Use it from one thread at a time."""

    def __init__(self, session: Session, say: Callable[[str], object], *, tenant: str = "", alone: bool = True) -> None:
        """Make one; nothing is read or sent yet.

        Args:
            session: With the settings.
            say: Told of what goes wrong.
            tenant: Whose journal it is.
            alone: Whether it is this machine's own, so that the file of metrics is about it.

        Raises:
            ConfigBad: An Alertmanager or a file is named that cannot be used.
        """
        self._target = alertmanager_of(session.config)
        self._textfile = textfile_of(session.config) if alone else None
        self._source = Source(host_name(), pages_at(session.config, tenant))
        self._say = say
        self._counting = Counting()
        self._told: list[Alert] = []
        self._due = 0.0
        self._records = -1
        self._said = ""

    @property
    def wanted(self) -> bool:
        """Whether the settings name anybody."""
        return self._target is not None or self._textfile is not None

    def look(self, book: Book) -> None:
        """Tell what has changed; and what is still so, once a minute.

        Raises:
            Failure: The journal cannot be read.
        """
        figures = self._counting.look(book)
        again = time.monotonic() >= self._due
        if self._counting.records == self._records and not again:
            return
        self._records = self._counting.records
        self._write(self._counting)
        alerts = alerts_of(figures, self._source, now_s=int(time.time()))
        if again or _names(alerts) != _names(self._told):
            self._push(alerts)
            self._told = alerts

    def fails(self, failure: Failure) -> None:
        """Tell that the journal cannot be used."""
        if failure.exit_code not in _JOURNAL:
            return
        self._counting.forget()
        self._records = -1
        self._write(None)
        self._push([trouble_of(self._source, failure.what, now_s=int(time.time()))])

    def _push(self, alerts: Sequence[Alert]) -> None:
        self._due = time.monotonic() + AGAIN_S
        if self._target is None:
            return
        for body in batches(alerts):
            answer = post(self._target, body, timeout_s=_TIMEOUT_S, pause=lambda _: True)
            if isinstance(answer, NotSent):
                self._due = time.monotonic() + _SOON_S
                self._tell(f"the Alertmanager was not told: {answer.why}")
                return
        self._said = ""

    def _write(self, counting: Counting | None) -> None:
        if self._textfile is None:
            return
        try:
            write_textfile(self._textfile, counting)
        except OSError as error:
            self._tell(f"the metrics are not in {self._textfile}: {error.strerror or error}")

    def _tell(self, text: str) -> None:
        """The same trouble may last for hours."""
        if text != self._said:
            self._said = text
            self._say(text)


def alertmanager_of(config: Config) -> Target | None:
    """Where alerts are pushed to; None if the settings name nothing.

    Raises:
        ConfigBad: It cannot be used.
    """
    url = config.text("alerts.alertmanager")
    if not url:
        return None
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    target = parse_target(url, (host,))
    if isinstance(target, Denied):
        raise ConfigBad(f"alerts.alertmanager cannot be used: {target.reason}")
    return replace(target, path=f"{target.path.rstrip('/')}/{_PATH}", inside=True)


def alarms_of(session: Session, say: Callable[[str], object], *, tenant: str = "", alone: bool = True) -> list[Alarms]:
    """Who looks at the journal; nobody if the settings name neither an Alertmanager nor a file. Arguments as for `Alarms`.

    Raises:
        ConfigBad: One of them cannot be used.
    """
    alarms = Alarms(session, say, tenant=tenant, alone=alone)
    return [alarms] if alarms.wanted else []


def push_now(session: Session, book: Book, say: Callable[[str], object]) -> None:
    """Tell what is so now. Nothing is raised."""
    try:
        for alarms in alarms_of(session, say):
            alarms.look(book)
    except (Failure, OSError) as error:
        say(f"nobody was alerted: {error}")


def afterwards(session: Session, say: Callable[[str], object], failed: Failure | None = None) -> None:
    """After a command has written to the journal: tell what is so now. Nothing is raised.

    Args:
        session: Of the command.
        say: Told of what goes wrong.
        failed: Why the command failed, if it did: what is wrong with the journal is told.
    """
    try:
        found = alarms_of(session, say)
    except ConfigBad as failure:
        say(f"nobody was alerted: {failure}")
        return
    for alarms in found:
        try:
            with session.journal(read_only=True) as journal:
                alarms.look(journal)
            if failed is not None:
                alarms.fails(failed)
        except Failure as failure:
            alarms.fails(failure)
        except OSError as error:
            say(f"nobody was alerted: {error}")


def _names(alerts: Sequence[Alert]) -> list[tuple[object, ...]]:
    """What must change for somebody to be told again."""
    return [(alert.labels, alert.since_s, alert.until_s <= time.time()) for alert in alerts]
