"""Settings and the choice of concrete classes: the only reader of the environment."""
