"""What a repository has: blobs, manifests, tags, referrers; and the catalog of repositories."""
