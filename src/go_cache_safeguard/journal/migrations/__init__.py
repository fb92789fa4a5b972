"""How the tables of a shared database came to be, step by step; run by Alembic, see `flows.migrate`."""
