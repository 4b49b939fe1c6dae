"""Real container clients against a real daemon process; see `programs` for what they need installed."""
