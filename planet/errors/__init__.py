"""Words refusals: what was expected, what came, what helps."""
