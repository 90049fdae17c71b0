"""From YAML and the command line to one validated `Config`, or to every mistake in them."""
