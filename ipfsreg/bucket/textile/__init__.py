"""A bucket on a Textile Hub or a self-hosted buckd."""
