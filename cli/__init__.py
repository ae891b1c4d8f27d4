"""The `tandem` command: thin, lazily loaded, a client of the router with the standard library alone."""
