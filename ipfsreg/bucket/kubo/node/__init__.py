"""What a node does for the bucket: commands, directories, content, pins."""
