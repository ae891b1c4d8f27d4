"""The router: takes tasks, asks workers and people, keeps the journal."""
