"""The backend that keeps everything in a bucket of a Fleek Space Daemon on this machine."""
