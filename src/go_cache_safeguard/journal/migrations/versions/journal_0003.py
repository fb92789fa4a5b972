"""The people of `serve`, their sessions and API tokens.

Knows:     the tables as `web.people` asks for them.
Called by: Alembic.
Never:     is changed after a release; takes people away who are there.
"""

import sqlalchemy as sa
from alembic import op

revision = "journal_0003"
down_revision = "journal_0002"

_KEPT = ("person", "person_link", "api_token")


def upgrade() -> None:
    """Make the tables."""
    for name, items in _tables().items():
        op.create_table(name, *items)


def downgrade() -> None:
    """Take the tables away, if there is nobody in them. Sessions and attempts are not missed."""
    for name in _KEPT:
        if op.get_bind().execute(sa.text(f"SELECT EXISTS (SELECT FROM {name})")).scalar():  # noqa: S608 - names of ours
            raise RuntimeError(f"the table {name} is not empty, and what is in it would be lost")
    for name in _tables():
        op.drop_table(name)


def _tables() -> dict[str, list[sa.schema.SchemaItem]]:
    """Anew each time: a column belongs to one table."""
    return {
        "person": [
            _key("tenant", 64),
            _key("name", 64),
            _text("roles", 64),
            sa.Column("active", sa.Boolean, nullable=False),
            sa.Column("password", sa.String(255)),
            sa.Column("totp", sa.String(64)),
            sa.Column("totp_step", sa.BigInteger, nullable=False, server_default="0"),
            _time("made_s"),
        ],
        "person_link": [
            _key("tenant", 64),
            _key("name", 64),
            _key("principal", 512),
            sa.Column("identity", sa.String(600)),
            sa.UniqueConstraint("tenant", "identity", name="person_link_of_one"),
        ],
        "person_session": [
            _key("tenant", 64),
            _key("sha256", 64),
            _text("name", 64),
            _text("principal", 512),
            _time("made_s"),
            _time("expires_s"),
        ],
        "api_token": [
            _key("tenant", 64),
            _key("id", 32),
            _text("sha256", 64),
            _text("name", 64),
            _text("scopes", 128),
            _time("made_s"),
            _time("expires_s"),
            sa.UniqueConstraint("tenant", "sha256", name="api_token_once"),
        ],
        "login_attempt": [
            _key("tenant", 64),
            _key("sha256", 64),
            sa.Column("count", sa.Integer, nullable=False),
            _time("since_s"),
        ],
        "known_address": [
            _key("tenant", 64),
            _key("name", 64),
            _key("address", 64),
            _time("at_s"),
        ],
        "oidc_journey": [
            _key("tenant", 64),
            _key("sha256", 64),
            _text("state", 64),
            _text("nonce", 128),
            _text("verifier", 128),
            _text("next", 512),
            _time("expires_s"),
        ],
    }


def _key(name: str, size: int) -> "sa.Column[str]":
    return sa.Column(name, sa.String(size), primary_key=True)


def _text(name: str, size: int) -> "sa.Column[str]":
    return sa.Column(name, sa.String(size), nullable=False)


def _time(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False)
