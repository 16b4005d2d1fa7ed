"""Predictors: what a network costs and how good it is, guessed from its graph alone."""
