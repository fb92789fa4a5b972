"""The pure centre: operations, verdicts, decisions, plans, lifecycle and failures. Names no cache and touches nothing."""
