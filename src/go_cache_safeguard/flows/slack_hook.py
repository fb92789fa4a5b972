"""Where Slack is reached: its own hosts, or what a site allows.

Knows:     which setting names the incoming webhook, and which URLs count as Slack's.
Called by: `flows.chat` and `flows.witness_chat`.
Never:     shows a URL, whose path is a secret.
"""

from urllib.parse import urlsplit

from go_cache_safeguard.approval.eyes import Denied
from go_cache_safeguard.approval.webhook import Target, parse_target
from go_cache_safeguard.config.layer import ConfigBad
from go_cache_safeguard.config.resolve import Config
from go_cache_safeguard.flows.private_file import secret_in

SLACK = frozenset({"hooks.slack.com", "slack.com", "hooks.slack-gov.com", "slack-gov.com"})
"""Hosts that need no permission of their own."""


def slack_hook(config: Config) -> Target:
    """The incoming webhook that `approval.slack_file` names.

    Raises:
        ConfigBad: There is none that can be used.
    """
    return slack_target(config, secret_in(config, "approval.slack_file").strip(), "the URL in approval.slack_file")


def slack_target(config: Config, url: str, what: str) -> Target:
    """Judge a URL of Slack: its own hosts at public addresses, or what `approval.hook_allow` names.

    Raises:
        ConfigBad: It is neither.
    """
    host = (urlsplit(url).hostname or "").lower() if url.startswith(("https://", "http://")) else ""
    allow = () if host in SLACK else tuple(config.text("approval.hook_allow").split()) or ("-",)
    target = parse_target(url.strip(), allow)
    if isinstance(target, Denied):
        raise ConfigBad(f"{what} cannot be used: {target.reason}")
    return target
