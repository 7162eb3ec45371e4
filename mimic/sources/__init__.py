"""Where samples come from: a class-folder tree or a manifest. One file a kind."""
