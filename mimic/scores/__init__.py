"""One number a sample, higher is better."""
