"""Background work: collecting garbage, and finding and mending damage."""
