"""The `kubo` backend: an IPFS node, or a cluster of them, through the RPC of Kubo."""
