"""What the services that depend on a cache tell: their spans, their golden signals, and what follows from them."""
