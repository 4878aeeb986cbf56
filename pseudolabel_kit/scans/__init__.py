"""From scans, as hospitals and archives hold them, to a dataset folder."""
