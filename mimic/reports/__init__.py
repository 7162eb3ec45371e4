"""What leaves the workspace for people: figures and files."""
