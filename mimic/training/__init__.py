"""Grad-Mimic, stage 1: anybody's training loop, re-weighted by the Mimic Scores of the batch it is at."""
