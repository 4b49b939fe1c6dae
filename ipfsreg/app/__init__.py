"""The program: the daemon's life, what is plugged into what, its directory and its control socket."""
