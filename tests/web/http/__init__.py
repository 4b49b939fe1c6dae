"""The HTTP server alone, with handlers of the tests'."""
