"""Blocks and CARs by CID over HTTP: the trustless gateway and its routing records."""
