"""Reading: open files, directories as trees, content by CID."""
