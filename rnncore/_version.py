"""The version, where everything finds it, and what builds the package without importing it."""

__version__ = "0.1.0"
