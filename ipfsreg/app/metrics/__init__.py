"""What is counted and measured while the daemon runs. Nothing of it is loaded unless `[metrics]` says so."""
