"""Whole processes, side by side with their peers, as ratios of medians. ``README.md`` says what is measured and how.

``figures/bench_*.py`` hold one question each; everything else is what they measure with. The tables of what is measured
and of what must be reached are ``measures.py`` and ``targets.py``.
"""
