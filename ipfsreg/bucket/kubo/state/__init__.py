"""The bucket's states: which one counts, and how a commit replaces it."""
