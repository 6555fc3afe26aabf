"""The engines: what turns requests into tokens."""
