"""What happens to repositories, for whoever wants to know."""
