"""The proof that the world still works after a removal."""
