"""Logs that were closed and exported, whose records may go.

Knows:     that a record is removed only if its log is on the list, and that the present log of a tenant never is.
Called by: Alembic.
Never:     is changed after a release; forgets which logs were retired.
"""

from alembic import op
from sqlalchemy import text

revision = "journal_0002"
down_revision = "journal_0001"

_UP = (
    """
    CREATE TABLE public.retired (
        tenant text NOT NULL,
        log text NOT NULL,
        records bigint NOT NULL,
        hash bytea NOT NULL,
        sha256 bytea NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant, log)
    )""",
    """
    CREATE FUNCTION public.present_log_is_never_retired() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM public.journal WHERE tenant = NEW.tenant AND log = NEW.log) OR NOT EXISTS (
            SELECT FROM public.record WHERE tenant = NEW.tenant AND log = NEW.log AND seq = NEW.records AND hash = NEW.hash
        ) THEN RAISE EXCEPTION 'only a log that was closed may be retired';
        END IF;
        RETURN NEW;
    END $$""",
    """
    CREATE TRIGGER present_log_is_never_retired BEFORE INSERT ON public.retired
    FOR EACH ROW EXECUTE FUNCTION public.present_log_is_never_retired()""",
    """
    CREATE TRIGGER retired_is_never_changed BEFORE UPDATE OR DELETE ON public.retired
    FOR EACH ROW EXECUTE FUNCTION public.record_is_never_changed()""",
    """
    CREATE OR REPLACE FUNCTION public.record_is_never_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM public.retired WHERE tenant = OLD.tenant AND log = OLD.log)
        THEN RAISE EXCEPTION 'a record is never changed or removed'; END IF;
        RETURN OLD;
    END $$""",
    "ALTER TABLE public.retired ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE public.retired FORCE ROW LEVEL SECURITY",
    "CREATE POLICY of_tenant ON public.retired USING (tenant = nullif(current_setting('safeguard.tenant', true), ''))",
)
_DOWN = (
    """
    CREATE OR REPLACE FUNCTION public.record_is_never_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'a record is never changed or removed'; END $$""",
    "DROP TABLE public.retired",
    "DROP FUNCTION public.present_log_is_never_retired()",
)


def upgrade() -> None:
    """Make the list."""
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    """Take the list away, if nothing is on it."""
    op.execute("ALTER TABLE public.retired NO FORCE ROW LEVEL SECURITY")
    if op.get_bind().execute(text("SELECT EXISTS (SELECT FROM public.retired)")).scalar():
        raise RuntimeError("logs were retired, and which ones would be lost")
    for statement in _DOWN:
        op.execute(statement)
