"""All that writes beneath the root."""
