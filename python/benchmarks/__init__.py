"""Measurements of speed and memory. Run them by hand or with ``make bench``; no test depends on a clock."""
