"""Event streams: their frame (``events``), all that can be watched (``topics``), and most of their sources."""
