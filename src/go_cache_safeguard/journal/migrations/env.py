"""What Alembic runs for every command: the steps, one after the other, each in a transaction of its own.

Knows:     nothing but the connection that it is handed.
Called by: Alembic, which `flows.migrate` calls.
Never:     connects by itself; reads an .ini file or the environment.
"""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
