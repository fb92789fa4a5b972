"""What `cacheprog` did in one build, for a person, for a program and for Prometheus.

Knows:     the words of the summary, the fields of its JSON line, and the names of the counters.
Called by: `flows.cacheprog_start`, after the last reply.
Never:     fails a build: what cannot be written is a line on stderr. Counters of a textfile only grow.
Source:    Prometheus text format 0.0.4; node_exporter's README, "Textfile Collector".
"""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from go_cache_safeguard.core.size import format_size
from go_cache_safeguard.flows.cacheprog import Counts
from go_cache_safeguard.flows.second_level import SecondLevel

SCHEMA = "go-cache-safeguard/cacheprog/1"
_NAME = "go_cache_safeguard_cacheprog_"
_FAMILIES = {
    "builds": "Go commands that were served.",
    "lookups": "Lookups by what answered them.",
    "puts": "Outputs that were put.",
    "damaged": "Contents of this machine's cache that were not what they should be; they were not used.",
    "late": "Lookups that were a miss because the time was over.",
    "errors": "Requests at which cacheprog itself failed; they were answered as a miss.",
    "bytes": "Bytes of outputs by which way they went.",
    "remote_requests": "Requests to the second level by what became of them.",
}
_LINE = re.compile(rb"^(?P<series>[a-z_]+(?:\{[a-z_]+=\"[a-z_]+\"\})?) (?P<value>[0-9]+)$", re.MULTILINE)


class Report:
    """The figures of one build."""

    def __init__(self, counts: Counts, damaged: int, remote: SecondLevel | None, *, took_ns: int) -> None:
        """Made when the build is over.

        Args:
            counts: What was answered.
            damaged: Contents of this machine's cache that were not used.
            remote: The second level.
            took_ns: How long we served, by a clock that nobody sets.
        """
        self._ended_ns = time.time_ns()
        self._began_ns = self._ended_ns - took_ns
        self._counts = counts
        self._damaged = damaged
        self._remote = remote

    def lines(self) -> list[str]:
        """For a person."""
        counts = self._counts
        lines = [
            (
                f"{counts.gets} lookups: {counts.hits} hits, {counts.fetched} from the second level, {counts.misses} misses;"
                f" {format_size(counts.bytes_hit)} used, {counts.puts} outputs put ({format_size(counts.bytes_put)})"
            )
        ]
        if counts.late or counts.errors:
            lines.append(
                f"{counts.late} lookups took too long, at {counts.errors} requests we failed: both count as misses"
            )
        if self._remote is not None:
            traffic = self._remote.traffic
            lines.append(
                f"second level: {traffic.came} of {traffic.asked} fetched ({format_size(traffic.bytes_in)}), {traffic.sent} sent"
                f" ({format_size(traffic.bytes_out)}), {traffic.dropped} not sent, {traffic.refused} refused, {traffic.failed} failed"
            )
            if self._remote.trouble:
                lines.append(f"second level: {self._remote.trouble}")
        return lines

    def as_value(self) -> dict[str, object]:
        """For a program."""
        counts = self._counts
        value: dict[str, object] = {
            "schema": SCHEMA,
            "host": os.uname().nodename,
            "began_ns": self._began_ns,
            "ended_ns": self._ended_ns,
            "damaged": self._damaged,
        }
        value |= {name: getattr(counts, name) for name in Counts.__slots__}
        if self._remote is not None:
            traffic = self._remote.traffic
            value["remote"] = {name: getattr(traffic, name) for name in traffic.__slots__} | {
                "namespace": self._remote.namespace,
                "trouble": self._remote.trouble,
            }
        return value

    def series(self) -> dict[str, int]:
        """For Prometheus: what this build adds."""
        counts = self._counts
        added = {
            "builds_total": 1,
            'lookups_total{result="hit"}': counts.hits,
            'lookups_total{result="fetched"}': counts.fetched,
            'lookups_total{result="miss"}': counts.misses,
            "puts_total": counts.puts,
            "damaged_total": self._damaged,
            "late_total": counts.late,
            "errors_total": counts.errors,
            'bytes_total{way="hit"}': counts.bytes_hit,
            'bytes_total{way="put"}': counts.bytes_put,
        }
        if self._remote is not None:
            traffic = self._remote.traffic
            added |= {
                f'remote_requests_total{{result="{name}"}}': getattr(traffic, name)
                for name in ("asked", "came", "refused", "failed", "sent", "dropped")
            }
            added |= {
                'bytes_total{way="fetched"}': traffic.bytes_in,
                'bytes_total{way="sent"}': traffic.bytes_out,
            }
        return added

    def write(self, file: str, metrics: str) -> list[str]:
        """Tell the second level, append to the summary file and count in the textfile; what went wrong there, as lines."""
        problems = []
        if self._remote is not None and self._remote.wants_builds:
            self._remote.tell(json.dumps(self.as_value()).encode())
        try:
            if file:
                _append(file, json.dumps(self.as_value()) + "\n")
            if metrics:
                from go_cache_safeguard.flows.textfile import replace_text  # noqa: PLC0415 - loaded where it is used

                replace_text(Path(metrics), lambda before: add(before, self.series()))
        except OSError as error:
            problems.append(f"the figures of this build are not all written: {error}")
        return problems


def add(before: bytes, added: Mapping[str, int]) -> bytes:
    """A textfile with more in its counters.

    Args:
        before: Its old content, or nothing.
        added: Series without their common beginning, and what each grows by.
    """
    known = {match["series"].decode(): int(match["value"]) for match in _LINE.finditer(before)}
    values = {name.removeprefix(_NAME): value for name, value in known.items() if name.startswith(_NAME)}
    for name, more in added.items():
        values[name] = values.get(name, 0) + more
    lines = []
    for family, what in _FAMILIES.items():
        series = sorted(name for name in values if name.partition("{")[0] == f"{family}_total")
        if series:
            lines += [f"# HELP {_NAME}{family}_total {what}", f"# TYPE {_NAME}{family}_total counter"]
            lines += [f"{_NAME}{name} {values[name]}" for name in series]
    return "".join(f"{line}\n" for line in lines).encode()


def _append(file: str, line: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)
