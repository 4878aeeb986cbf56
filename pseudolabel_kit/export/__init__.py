"""`plk export`: a run's network as one file that needs nothing of this kit."""
