import unittest

from durations import parse, write


class ParseTest(unittest.TestCase):
    def test_one_part(self) -> None:
        self.assertEqual(parse("45s"), 45)
        self.assertEqual(parse("2w"), 1_209_600)

    def test_parts_with_and_without_spaces(self) -> None:
        self.assertEqual(parse("1h 30m"), 5_400)
        self.assertEqual(parse("1h30m"), 5_400)
        self.assertEqual(parse("  1d   2h 3m4s "), 93_784)

    def test_capitals(self) -> None:
        self.assertEqual(parse("1H 5M"), 3_900)

    def test_large_numbers_and_zeros(self) -> None:
        self.assertEqual(parse("90m"), 5_400)
        self.assertEqual(parse("0d 007s"), 7)

    def test_units_out_of_order_or_twice_are_mistakes(self) -> None:
        for note in ("30m 1h", "1h 1h", "5s 1w"):
            with self.subTest(note), self.assertRaises(ValueError):
                parse(note)

    def test_what_is_no_note_is_a_mistake(self) -> None:
        for note in ("", "   ", "h", "90", "1h 30", "5x", "-5m", "1.5h", "1 h", "1h, 5m"):
            with self.subTest(note), self.assertRaises(ValueError):
                parse(note)


class WriteTest(unittest.TestCase):
    def test_one_unit(self) -> None:
        self.assertEqual(write(45), "45s")
        self.assertEqual(write(60), "1m")
        self.assertEqual(write(604_800), "1w")

    def test_parts_without_zeros(self) -> None:
        self.assertEqual(write(5_400), "1h 30m")
        self.assertEqual(write(86_401), "1d 1s")
        self.assertEqual(write(694_861), "1w 1d 1h 1m 1s")

    def test_zero(self) -> None:
        self.assertEqual(write(0), "0s")

    def test_less_than_nothing_is_a_mistake(self) -> None:
        with self.assertRaises(ValueError):
            write(-1)

    def test_what_was_written_reads_back(self) -> None:
        for seconds in (1, 59, 3_599, 90_000, 1_234_567):
            self.assertEqual(parse(write(seconds)), seconds)


if __name__ == "__main__":
    unittest.main()
