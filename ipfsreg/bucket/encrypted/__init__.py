"""A bucket whose names and contents only members can read: a wrapper of any other (docs/encryption.md)."""
