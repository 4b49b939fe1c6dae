"""The configuration: its file, the kinds of its options, endpoints, and the environment."""
