"""The messages of a Textile server, made by `bucket/generate` from the .proto files beside it."""
