"""One state of the bucket after the other: changes become a draft, and the draft replaces what is pinned."""
