"""The format of an encrypted bucket: names, files, keys. Pure bytes: no reactor, no buckets (docs/encryption.md)."""
