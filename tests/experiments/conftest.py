"""The tiny settings for runs."""

from training.conftest import tiny  # noqa: F401  (a fixture)
