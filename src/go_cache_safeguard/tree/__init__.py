"""Directories of other people: how to enter them without being led elsewhere, and how to act there with no more power than their owner has."""
