"""The router's local API: HTTP and server-sent events on an owner-only Unix socket (docs/api.md)."""
