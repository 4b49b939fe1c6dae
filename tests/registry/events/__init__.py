"""What happens, told and kept."""
