"""Pairing: two machines come to trust each other's certificate because a person types one's code at the other.

The code is short, so it never travels: SPAKE2 turns it into a key that only two who know it share, and whoever stands in
between has one guess for each try. `code` has the digits, `window` for how long and how often they count, `messages` the
lines that are exchanged, `exchange` what each line proves. Those are pure; `showing` and `entering` do it over TCP.
"""
