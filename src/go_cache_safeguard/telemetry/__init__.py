"""Our own spans and metrics, the rules by which traces are kept, and what never leaves in them."""
