"""What was taken out of a cache and how it comes back. `quarantine` is the door: nothing else removes or renames anything in a cache."""
