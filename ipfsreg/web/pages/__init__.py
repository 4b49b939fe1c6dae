"""Pages for people: what the registry has, in a browser."""
