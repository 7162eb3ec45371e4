"""Training runs: Grad-Mimic as a command, from a data set to a model, its visits and its learning curves."""
