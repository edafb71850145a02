"""Programs that a model wrote, run against tests."""
