"""What reaches a Redis or Valkey server: what a command would destroy, and whether that may happen.

Absolute imports only: the package `redis` of other people is something else.
"""
