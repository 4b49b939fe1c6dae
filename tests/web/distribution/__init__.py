"""The routes of the OCI Distribution Specification."""
