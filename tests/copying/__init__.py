"""Copying between registries, layouts and CARs."""
