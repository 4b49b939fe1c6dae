"""How the `ipfsreg` command asks a running daemon to do something: HTTP on a socket in the daemon's directory."""
