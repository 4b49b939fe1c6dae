"""Content by digest, shared by all repositories: bytes, hashes, DAGs, and the guard over their use."""
