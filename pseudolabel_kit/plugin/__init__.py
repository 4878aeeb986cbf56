"""The door: components, references, hooks and the catalogue. Imports no torch."""
