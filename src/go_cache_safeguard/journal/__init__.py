"""What was asked, decided and done, in records that nobody can quietly change.

Pure: `record` (one record and its bytes), `chain` (what is wrong with many of them). Shell: `store` (SQLite).
"""
