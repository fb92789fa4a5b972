"""Pages and the API of `serve`: a way in, like `cli`, on top of the same flows. Needs the extra `server`."""
