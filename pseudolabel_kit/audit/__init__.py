"""`plk audit`: judge evidence and pseudo labels on one frozen model, without training."""
