"""Who is it, and may they: credentials, tokens, rules. Knows neither HTTP nor the storage."""
