"""Bringing Tandem forward: this machine's checkout, the workers it is paired with, and what runs here.

The order over several machines is workers first: a router of the older version waits for a worker of the newer one, and
runs go on when both have arrived. `commands/upgrade` has that order.
"""
