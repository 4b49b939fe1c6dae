"""Reading: directories as trees, open files, content by CID."""
