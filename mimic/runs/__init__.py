"""Runs join scores to the workspace: configure, begin or resume, execute shard by shard, publish."""
