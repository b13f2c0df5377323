"""Says what is installed, what it runs on and whether it works."""
