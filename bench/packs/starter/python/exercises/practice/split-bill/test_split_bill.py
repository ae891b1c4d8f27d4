import unittest

from split_bill import split, to_cents


class ToCentsTest(unittest.TestCase):
    def test_whole_amounts_and_cents(self) -> None:
        self.assertEqual(to_cents("12"), 1200)
        self.assertEqual(to_cents("12.3"), 1230)
        self.assertEqual(to_cents(" 0.05 "), 5)

    def test_signs_and_thousands(self) -> None:
        self.assertEqual(to_cents("-7.50"), -750)
        self.assertEqual(to_cents("1,234.50"), 123_450)
        self.assertEqual(to_cents("12,345,678"), 1_234_567_800)
        self.assertEqual(to_cents("1234.5"), 123_450)

    def test_large_amounts_are_exact(self) -> None:
        self.assertEqual(to_cents("90071992547409931.07"), 9_007_199_254_740_993_107)

    def test_what_is_no_amount_is_a_mistake(self) -> None:
        for text in ("", "1.", ".5", "1.234", "12,34", "1,2345", ",123", "1 2", "+1", "1e3", "--1", "five"):
            with self.subTest(text), self.assertRaises(ValueError):
                to_cents(text)


class SplitTest(unittest.TestCase):
    def test_even_shares(self) -> None:
        self.assertEqual(split(900, [1, 1, 1]), [300, 300, 300])

    def test_what_is_left_goes_to_the_first_of_equals(self) -> None:
        self.assertEqual(split(100, [1, 1, 1]), [34, 33, 33])
        self.assertEqual(split(101, [1, 1, 1]), [34, 34, 33])

    def test_what_is_left_goes_to_those_who_lost_most(self) -> None:
        self.assertEqual(split(10, [1, 2, 4]), [1, 3, 6])
        self.assertEqual(split(7, [3, 3, 1]), [3, 3, 1])
        self.assertEqual(split(5, [2, 5, 5]), [1, 2, 2])

    def test_a_weight_of_zero_gets_nothing(self) -> None:
        self.assertEqual(split(5, [0, 1, 1]), [0, 3, 2])

    def test_a_refund_mirrors_the_bill(self) -> None:
        self.assertEqual(split(-100, [1, 1, 1]), [-34, -33, -33])
        self.assertEqual(split(0, [1, 2]), [0, 0])

    def test_no_cent_is_lost_of_a_large_amount(self) -> None:
        amount = 10**30 + 1
        shares = split(amount, [7, 11, 13])
        self.assertEqual(sum(shares), amount)
        for share, weight in zip(shares, [7, 11, 13], strict=True):
            self.assertIn(share - amount * weight // 31, (0, 1))

    def test_weights_that_split_nothing_are_a_mistake(self) -> None:
        for weights in ([], [0, 0], [2, -1]):
            with self.subTest(weights), self.assertRaises(ValueError):
                split(100, weights)


if __name__ == "__main__":
    unittest.main()
