"""Who asks, and whether they may: access control as it is said over HTTP."""
