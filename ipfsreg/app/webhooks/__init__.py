"""What happens is told to other programs. Nothing of it is loaded unless `[webhooks]` says so."""
