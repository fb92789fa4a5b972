"""What was asked, decided and done, in records that nobody can quietly change.

Pure: `record` (one record and its bytes), `chain` (what is wrong with many of them), `sweep` (that nothing is, quickly), `law` (whether what
was done had been agreed to), `merkle`, `note`, `checkpoint`, `keys` and `seal` (what is signed of a journal, and what that shows), `account`
(what an auditor keeps of an operation). Shells: `store` (SQLite), `sweepers` (helper processes), `sealer` (checkpoints and key).
"""
