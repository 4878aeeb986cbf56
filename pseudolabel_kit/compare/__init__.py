"""Comparisons: many runs under one budget, and what they say of each other."""
