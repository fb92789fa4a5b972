"""Go's build cache as it lies on disk: what each file says, whether it is true, and what `go` would do with it."""
