"""What a persona may do beside talking: tools over the run's worktree, and how their calls are read from a reply."""
