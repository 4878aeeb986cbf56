"""A page a study: its slices, what a run answers to them, and the evidence for it."""
