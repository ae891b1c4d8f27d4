"""Pure functions from what the router says to what a person sees: nothing here reads, writes or waits."""
