"""Layouts of source folders: each module finds the studies in one."""
