"""Traces by OpenTelemetry's library. Loaded only where the configuration asks for it."""
