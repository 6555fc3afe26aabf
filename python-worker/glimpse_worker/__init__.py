"""The Python side of Glimpse: runs GLM-4.1V on one device and speaks to the library that started it."""

__version__ = "0.1.0"
