"""The messages of a Textile server, made by `generate` from the .proto files beside it."""
