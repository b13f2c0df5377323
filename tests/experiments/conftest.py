"""The tiny settings for runs."""

from tiny_config import tiny_settings  # noqa: F401  (a fixture)
