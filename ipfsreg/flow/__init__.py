"""The few concurrency tools that everything uses. Nothing here knows of registries or storages."""
