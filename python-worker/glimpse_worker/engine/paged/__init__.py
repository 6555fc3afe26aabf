"""The paged engine: every request of a device in one batch, its keys and values in pages."""
