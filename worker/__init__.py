"""The worker: Complete, Check, Prepare and Git for any router on this link. It remembers no conversation."""
