"""The kernel every program of Tandem shares; it imports none of the other rooms."""

__version__ = "0.1.0"
