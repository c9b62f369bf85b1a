"""What the program is told, and what it calls itself."""

__version__ = "0.1.0"
