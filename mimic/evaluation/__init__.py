"""Is the reference fit, and how well does a signal find what is known to be wrong?"""
