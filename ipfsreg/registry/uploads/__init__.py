"""Upload sessions, and the spool for what they bring."""
