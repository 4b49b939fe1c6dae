"""Blocks and CARs by CID over HTTP."""
