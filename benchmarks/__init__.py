"""Whole processes, side by side with their peers, as ratios of medians. ``README.md`` says what is measured and how."""
