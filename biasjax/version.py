"""The version, in one place. It is part of every observation's key: see docs/results.md."""

__version__ = "0.3.0"
