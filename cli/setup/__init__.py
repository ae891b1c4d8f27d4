"""The first set-up of a machine: which models it can carry, and the configuration that says so."""
