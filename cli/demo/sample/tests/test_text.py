import unittest

from words.text import initials, shorten


class InitialsTest(unittest.TestCase):
    def test_takes_the_first_letter_of_each_word(self):
        self.assertEqual(initials("ada king lovelace"), "AKL")


class ShortenTest(unittest.TestCase):
    def test_leaves_a_short_text_alone(self):
        self.assertEqual(shorten("short", 10), "short")

    def test_marks_what_was_cut(self):
        self.assertEqual(shorten("a longer text", 8), "a longe…")


if __name__ == "__main__":
    unittest.main()
