"""Others that have what the bucket has: publishing under a name, mirrors, copies at services."""
