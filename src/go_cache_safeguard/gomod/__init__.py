"""Go's module cache: what is in it and how large it is."""
