"""Where people decide in a browser, for links in messages and alerts.

Knows:     which settings say it.
Called by: `flows.hooks`, `flows.chat`, `flows.alerts`.
Never:     puts anything secret into a link.
"""

from go_cache_safeguard.config.resolve import Config


def pages_at(config: Config, tenant: str = "") -> str:
    """The address of the pages, without a slash at the end; empty if there are none.

    Args:
        config: With the settings.
        tenant: Whose pages, where `serve` has several tenants.
    """
    served = {of: url for url, _, of in (word.partition("=") for word in config.text("serve.url").split())}
    own = "" if tenant else config.text("approval.page") or config.text("approval.server")
    named = own or served.get(tenant, "")
    return named.rstrip("/") if named.startswith(("https://", "http://")) else ""


def page_of(pages: str, op: str) -> str:
    """The page of one operation; empty if there are no pages."""
    return pages and f"{pages}/op/{op}"
