"""The members of an encrypted bucket: their keys on this disk, and the signed documents in the bucket."""
