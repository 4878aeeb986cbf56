"""What `plk plugins new` writes: a package that installs, passes its tests and runs."""
