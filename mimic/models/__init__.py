"""Models and what is known of their weights: build, checkpoint, head, scope, direction."""
