"""Acts in environments: everything that is a policy."""
