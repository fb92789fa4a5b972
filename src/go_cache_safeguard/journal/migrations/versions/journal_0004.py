"""When a session of `serve` was used last.

Knows:     the column as `web.people` asks for it.
Called by: Alembic.
Never:     is changed after a release; ends a session.
"""

import sqlalchemy as sa
from alembic import op

revision = "journal_0004"
down_revision = "journal_0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("person_session", sa.Column("used_s", sa.BigInteger))


def downgrade() -> None:
    """Take it away; nobody misses it."""
    op.drop_column("person_session", "used_s")
