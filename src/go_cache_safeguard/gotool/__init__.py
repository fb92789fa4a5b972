"""The go command, seen from outside: how it is started, where it keeps its cache, what it says, which of its processes live."""
