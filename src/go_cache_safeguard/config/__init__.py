"""Every value that a site or a person can set, where it came from, and whether that place may be believed."""
