"""``ipfsreg copy``: `command` is what is typed, `places` what may be named, and `opening` does the work."""
