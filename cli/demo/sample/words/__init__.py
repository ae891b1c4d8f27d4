"""Small helpers for titles and names."""
