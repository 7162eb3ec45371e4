"""Scores in, votes out, with a reason. Filters know no torch and no files."""
