"""A channel of Slack as a witness: who can read it has seen each checkpoint, and nobody here can take it back.

Knows:     what of a checkpoint is sent there, and that a webhook cannot be asked what the channel holds.
Called by: `flows.checkpoint` and `flows.audit`, for all witnesses that the settings name.
Never:     sends more than one message for a checkpoint: the newest covers those before it; takes an answer for Slack's that is not;
           shows the URL, whose path is a secret.
Source:    Slack, "Sending messages using incoming webhooks": 200 and `ok` when it took a message, 429 with Retry-After when there were
           too many, which `approval.notify` does not try again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.flows.witnesses import Grown, Witness, away, lines_of, witnesses
from go_cache_safeguard.journal.seal import Seal

_ANSWER_BYTES = 16


@dataclass(frozen=True, slots=True, repr=False)
class InSlack:
    """Lines in the channel of `approval.slack_file`.

    Attributes:
        config: The settings; the file is read when there is something to tell.
    """

    config: Config

    @property
    def name(self) -> str:
        """As in the settings."""
        return "slack"

    def tell(self, seals: Sequence[Seal], _grow: Callable[[], Grown]) -> None:
        """Send the newest one, once: whoever waits for this is not held up by more attempts, and the next checkpoint is one."""
        from go_cache_safeguard.approval.chat import verbatim  # noqa: PLC0415 - loaded where used
        from go_cache_safeguard.approval.notify import NotSent, post  # noqa: PLC0415 - brings ssl
        from go_cache_safeguard.flows.slack_hook import slack_hook  # noqa: PLC0415 - loaded where used

        try:
            target = slack_hook(self.config)
        except ConfigBad as failure:
            raise away(self.name, failure.what, failure.hint) from failure
        newest = seals[-1]
        body = verbatim(f"A journal of {newest.checkpoint.size:,} records was signed", lines_of([newest]).decode())
        timeout_s = self.config.seconds("approval.hook_timeout")
        answer = post(target, body, timeout_s=timeout_s, pause=lambda _: True, read=_ANSWER_BYTES)
        if isinstance(answer, NotSent):
            raise away(self.name, answer.why)
        if answer.body.strip() != b"ok":
            raise away(self.name, f"{target.name} did not answer as Slack does")

    def seen(self, _origin: str) -> list[Seal]:
        """Not from here."""
        hint = "copy the messages of the channel into a file: `audit verify --seen FILE`"
        raise away(self.name, "cannot be read here", hint)


def witnesses_of(config: Config) -> list[Witness]:
    """All that the settings name."""
    return witnesses(config.text("audit.witnesses"), InSlack(config))
