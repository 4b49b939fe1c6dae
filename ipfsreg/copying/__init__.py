"""Images from one place to another: registries, OCI layouts and CARs, all seen through the same few methods."""
