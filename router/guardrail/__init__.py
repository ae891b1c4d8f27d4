"""The first checkpoint, before any persona call and before anything leaves the machine."""
