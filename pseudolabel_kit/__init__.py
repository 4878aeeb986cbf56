"""Pseudo-label strategies for semi-supervised medical imaging, as plugins."""
