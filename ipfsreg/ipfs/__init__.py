"""Wire formats of IPFS: CIDs, dag-pb, UnixFS, CAR. No policy, no input or output."""
