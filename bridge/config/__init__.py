"""What the user writes. Knows no protocol: numbers, strings, and rules about them."""

from bridge.config.errors import ConfigError, Problem, Severity

__all__ = ["ConfigError", "Problem", "Severity"]
