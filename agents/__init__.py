"""One persona call: a persona file and its context become messages, and a typed reply comes back."""
