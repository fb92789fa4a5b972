"""Prove, plan, clean and undo: the tool to reach for before anything deletes a cache."""

__version__ = "0.1.0"
