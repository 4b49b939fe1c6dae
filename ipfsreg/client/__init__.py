"""A client of the OCI distribution protocol, for registries of any program. What they answer is not trusted."""
