"""The local HTTP API on an owner-only Unix socket."""
