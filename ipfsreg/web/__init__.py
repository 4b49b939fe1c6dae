"""HTTP in and out: Klein routes, streaming bodies, ranges, and the OCI error document."""
