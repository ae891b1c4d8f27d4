"""Scripts that run inside the sandbox and write what each test did. Nothing here is ever imported by the worker."""
