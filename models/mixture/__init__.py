"""Several models that serve as one, and what a forecast says of its own uncertainty."""
