"""The messages of a Space Daemon, made by `bucket/generate` from the .proto file beside it."""
