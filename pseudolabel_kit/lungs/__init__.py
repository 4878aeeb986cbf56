"""Lung regions for a dataset that has none, and how well they agree with an expert's."""
