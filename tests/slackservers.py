"""A Slack at the loopback: takes what the real one takes, and refuses the rest as that does.

Its rules are those of Slack's reference of blocks and views; see `approval.chat`.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOKEN = "xoxb-1-a-token-of-a-test"  # noqa: S105 - nobody's
SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
PATH = "/services/T1/B1/the-secret-of-the-hook"


@dataclass
class FakeSlack:
    """What came, and what it is to answer.

    Attributes:
        limited: So many requests are answered with 429 first.
        answer: What it says when it took a message; something that stands in its way may say something else.
        messages: What was posted to the incoming webhook.
        views: What was opened.
        replies: What was put to a response_url.
        refused: Why something was not taken.
    """

    limited: int = 0
    answer: bytes = b"ok"
    messages: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    port: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, folder: Path, **more: str) -> dict[str, str]:
        """Settings with which it is told."""
        found = {}
        for setting, text in (
            ("approval.slack_file", f"{self.base}{PATH}"),
            ("approval.slack_secret_file", SIGNING),
            ("approval.slack_token_file", TOKEN),
        ):
            path = folder / setting
            path.touch(mode=0o600)
            path.write_text(text + "\n")
            found[setting] = str(path)
        return {
            **found,
            "approval.slack_api": f"{self.base}/api",
            "approval.hook_allow": "127.0.0.1",
            "approval.hook_timeout": "2s",
            "approval.page": "https://safeguard.example",
            **{key.replace("__", "."): text for key, text in more.items()},
        }

    def wait(self) -> None:
        assert self.arrived.acquire(timeout=30)


def shown(value: dict[str, Any]) -> str:
    """What a person sees, and copies: code as it was sent, quotes elsewhere made curly, and nothing escaped."""
    text = "\n".join(block["text"]["text"] for block in value["blocks"] if "text" in block)
    parts = text.split("```")
    parts[::2] = [part.replace('"', "\u201d") for part in parts[::2]]
    parts[1::2] = [part.strip("\n") for part in parts[1::2]]
    for escape, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        parts = [part.replace(escape, char) for part in parts]
    return "".join(parts)


def problems(value: dict[str, Any]) -> list[str]:
    """Why Slack would answer `invalid_blocks` or `invalid_arguments`; empty if it would not."""
    found = []
    blocks = value.get("blocks")
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= (100 if value.get("type") == "modal" else 50):
        return ["blocks"]
    for block in blocks:
        found += _of_block(block)
    if value.get("type") == "modal":
        found += [key for key in ("title", "submit", "close") if key in value and len(_plain(value[key])) > 24]
        if len(value.get("private_metadata", "")) > 3000 or len(value.get("callback_id", "")) > 255:
            found.append("metadata")
        if any(block["type"] == "input" for block in blocks) and "submit" not in value:
            found.append("submit")
    elif not isinstance(value.get("text"), str):
        found.append("text")
    return found


def _of_block(block: dict[str, Any]) -> list[str]:
    kind = block["type"]
    if kind == "header":
        return [] if 1 <= len(_plain(block["text"])) <= 150 else ["header"]
    if kind == "section":
        text = block["text"]
        return [] if text["type"] == "mrkdwn" and 1 <= len(text["text"]) <= 3000 else ["section"]
    if kind == "input":
        element = block["element"]
        fine = len(_plain(block["label"])) <= 2000 and element["type"] == "plain_text_input"
        return [] if fine and 0 <= element["min_length"] < element["max_length"] <= 3000 else ["input"]
    if kind != "actions" or not 1 <= len(block["elements"]) <= 25:
        return [f"block {kind}"]
    ids = [one["action_id"] for one in block["elements"]]
    found = [] if len(set(ids)) == len(ids) else ["action_id"]
    for one in block["elements"]:
        if one["type"] != "button" or not 1 <= len(_plain(one["text"])) <= 75 or len(one["action_id"]) > 255:
            found.append("button")
        if len(one.get("value", "")) > 2000 or len(one.get("url", "")) > 3000:
            found.append("value")
        if one.get("style", "primary") not in {"primary", "danger"}:
            found.append("style")
        if (sure := one.get("confirm")) is not None:
            sizes = (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30))
            found += [f"confirm {key}" for key, most in sizes if not 1 <= len(sure[key]["text"]) <= most]
    return found


def _plain(text: dict[str, Any]) -> str:
    assert text["type"] == "plain_text", text
    return str(text["text"])


@contextmanager
def slack() -> Iterator[FakeSlack]:
    """Listen."""
    fake = FakeSlack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer, more = _taken(fake, self.path, dict(self.headers), body)
            self.send_response(status)
            for name, text in more.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            fake.arrived.release()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    fake.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()


def _taken(fake: FakeSlack, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
    if fake.limited:
        fake.limited -= 1
        return 429, b"rate_limited", {"Retry-After": "90"}
    if not headers.get("Content-Type", "").startswith("application/json"):
        fake.refused.append("type")
        return 400, b"invalid_payload", {}
    value = json.loads(body)
    if path == PATH:
        if wrong := problems(value):
            fake.refused += wrong
            return 400, b"invalid_blocks", {}
        fake.messages.append(value)
        return 200, fake.answer, {}
    if path == "/api/views.open":
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 200, b'{"ok":false,"error":"invalid_auth"}', {}
        if wrong := ([] if value.get("trigger_id") else ["trigger_id"]) + problems(value["view"]):
            fake.refused += wrong
            return 200, b'{"ok":false,"error":"invalid_arguments"}', {}
        fake.views.append(value)
        return 200, b'{"ok":true,"view":{}}', {}
    if path.startswith("/actions/"):
        fake.replies.append(value)
        return 200, b"ok", {}
    return 404, b"no_service", {}
