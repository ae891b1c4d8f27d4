"""Model runtimes, one module each, behind one protocol."""
