"""The client of registries elsewhere."""
