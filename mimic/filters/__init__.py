"""Filters: scores become votes (keep, drop, abstain) with a reason. Knows no torch and no files."""
