"""The kernels of the paged engine, each alone."""
