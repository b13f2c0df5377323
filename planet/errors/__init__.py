"""Words what a refusal says: what was expected, what came, what helps."""
