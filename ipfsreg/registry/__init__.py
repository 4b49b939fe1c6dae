"""The nouns of the protocol: repositories, blobs, uploads, manifests, tags, referrers, and the collector.

Nothing here knows HTTP, and no backend by name: a bucket comes in through `ipfsreg.bucket.interface`.
"""
