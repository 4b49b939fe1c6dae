"""Images as citizens of IPFS: by CID, as views, and as CAR files."""
