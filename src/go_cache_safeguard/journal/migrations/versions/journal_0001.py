"""Journals and their records, which nobody changes.

Knows:     the tables, the triggers that refuse to change or remove a record, and the policies that show a tenant its own rows only.
Called by: Alembic.
Never:     is changed after a release; takes a table away that holds records.
"""

from alembic import op
from sqlalchemy import text

revision = "journal_0001"
down_revision = None

_TABLES = (
    r"""
    CREATE TABLE public.journal (
        tenant text PRIMARY KEY CHECK (tenant ~ '^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$'),
        log text NOT NULL CHECK (log ~ '^[0-9a-f]{32}$'),
        head_seq bigint NOT NULL CHECK (head_seq >= 0),
        head_hash bytea NOT NULL CHECK (octet_length(head_hash) = 32)
    )""",
    r"""
    CREATE TABLE public.record (
        tenant text NOT NULL,
        log text NOT NULL,
        seq bigint NOT NULL CHECK (seq > 0),
        op text,
        body bytea NOT NULL,
        hash bytea NOT NULL CHECK (hash = sha256('\x00'::bytea || body)),
        PRIMARY KEY (tenant, log, seq)
    )""",
    "CREATE INDEX record_of_operation ON public.record (tenant, log, op, seq) WHERE op IS NOT NULL",
)
_TRIGGERS = (
    """
    CREATE FUNCTION public.record_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'a record is never changed or removed'; END $$""",
    """
    CREATE FUNCTION public.record_is_never_removed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'a record is never changed or removed'; END $$""",
    """
    CREATE FUNCTION public.record_is_only_appended() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM public.journal WHERE tenant = NEW.tenant AND log = NEW.log)
           OR NEW.seq <> 1 AND NOT EXISTS (
               SELECT FROM public.record WHERE tenant = NEW.tenant AND log = NEW.log AND seq = NEW.seq - 1
           )
        THEN RAISE EXCEPTION 'a record is only appended'; END IF;
        RETURN NEW;
    END $$""",
    """
    CREATE FUNCTION public.head_only_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' OR NEW.log <> OLD.log THEN
            IF NEW.head_seq <> 0 THEN RAISE EXCEPTION 'a log begins with nothing'; END IF;
        ELSIF NEW.head_seq < OLD.head_seq OR NEW.tenant <> OLD.tenant OR NOT EXISTS (
            SELECT FROM public.record
            WHERE tenant = NEW.tenant AND log = NEW.log AND seq = NEW.head_seq AND hash = NEW.head_hash
        ) THEN RAISE EXCEPTION 'a head goes on to a record that is there';
        END IF;
        RETURN NEW;
    END $$""",
    """
    CREATE FUNCTION public.head_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE public.journal SET head_seq = last.seq, head_hash = last.hash
        FROM (SELECT * FROM added ORDER BY seq DESC LIMIT 1) AS last
        WHERE journal.tenant = last.tenant AND journal.log = last.log;
        RETURN NULL;
    END $$""",
    """
    CREATE TRIGGER head_goes_on AFTER INSERT ON public.record REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION public.head_goes_on()""",
    """
    CREATE TRIGGER record_is_never_changed BEFORE UPDATE ON public.record
    FOR EACH ROW EXECUTE FUNCTION public.record_is_never_changed()""",
    """
    CREATE TRIGGER record_is_never_removed BEFORE DELETE ON public.record
    FOR EACH ROW EXECUTE FUNCTION public.record_is_never_removed()""",
    """
    CREATE TRIGGER record_is_never_emptied BEFORE TRUNCATE ON public.record
    FOR EACH STATEMENT EXECUTE FUNCTION public.record_is_never_changed()""",
    """
    CREATE TRIGGER record_is_only_appended BEFORE INSERT ON public.record
    FOR EACH ROW EXECUTE FUNCTION public.record_is_only_appended()""",
    """
    CREATE TRIGGER head_only_goes_on BEFORE INSERT OR UPDATE ON public.journal
    FOR EACH ROW EXECUTE FUNCTION public.head_only_goes_on()""",
    """
    CREATE TRIGGER head_is_never_removed BEFORE DELETE ON public.journal
    FOR EACH ROW EXECUTE FUNCTION public.record_is_never_changed()""",
    """
    CREATE TRIGGER head_is_never_emptied BEFORE TRUNCATE ON public.journal
    FOR EACH STATEMENT EXECUTE FUNCTION public.record_is_never_changed()""",
)


_FUNCTIONS = (
    "record_is_never_changed",
    "record_is_never_removed",
    "record_is_only_appended",
    "head_only_goes_on",
    "head_goes_on",
)


def _fence(table: str) -> tuple[str, ...]:
    """Without a tenant named for the transaction there is no row, also for the owner."""
    return (
        f"ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE public.{table} FORCE ROW LEVEL SECURITY",
        f"""
        CREATE POLICY of_tenant ON public.{table}
        USING (tenant = nullif(current_setting('safeguard.tenant', true), ''))""",
    )


def upgrade() -> None:
    """Make the tables."""
    for statement in (*_TABLES, *_TRIGGERS, *_fence("journal"), *_fence("record")):
        op.execute(statement)


def downgrade() -> None:
    """Take the tables away, if they hold nothing."""
    op.execute("ALTER TABLE public.record NO FORCE ROW LEVEL SECURITY")
    if op.get_bind().execute(text("SELECT EXISTS (SELECT FROM public.record)")).scalar():
        raise RuntimeError("there are records, which would be lost")
    op.execute("DROP TABLE public.record, public.journal")
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION public.{function}()")
