"""The `ipfsreg` command: a file for each group of commands."""
