"""Twins: copies of a test file in which each test expects something else, so that each must fail; by language.

Text in, text out; nothing of the file is run or imported. Whoever makes every test pass makes its twin pass too, and
that is what the judge looks for. A change is made only where it surely makes the test fail: in a statement that every
run of the test reaches.
"""
