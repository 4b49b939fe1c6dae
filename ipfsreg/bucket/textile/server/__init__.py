"""What is said to a Textile server: calls, their signatures and errors, identities, threads."""
