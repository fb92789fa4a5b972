"""The stories: each joins features and says in which order things happen."""
