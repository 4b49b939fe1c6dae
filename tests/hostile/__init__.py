"""What a stranger may send: mutated requests, manifests and CARs, against the daemon as users run it."""
