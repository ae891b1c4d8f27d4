import unittest

from column_layout import layout, with_head

FRUIT = [["fruit", "weight"], ["fig", "5"], ["pineapple", "1200"]]


class LayoutTest(unittest.TestCase):
    def test_to_the_left(self) -> None:
        self.assertEqual(layout(FRUIT), "fruit      weight\nfig        5\npineapple  1200")

    def test_to_the_right(self) -> None:
        self.assertEqual(layout(FRUIT, "lr"), "fruit      weight\nfig             5\npineapple    1200")

    def test_in_the_middle_with_the_odd_space_to_the_right(self) -> None:
        self.assertEqual(layout([["abcd", "x"], ["a", "y"], ["bb", "z"]], "c"), "abcd  x\n a    y\n bb   z")

    def test_columns_without_a_letter_go_left(self) -> None:
        self.assertEqual(layout([["1", "a"], ["10", "b"]], "r"), " 1  a\n10  b")

    def test_short_rows_are_filled_and_no_line_ends_with_a_space(self) -> None:
        self.assertEqual(layout([["a", "b", "c"], ["long"], ["", "", "x"]]), "a     b  c\nlong\n         x")
        self.assertEqual(layout([["a", ""], ["b", ""]]), "a\nb")

    def test_nothing(self) -> None:
        self.assertEqual(layout([]), "")
        self.assertEqual(layout([[]]), "")

    def test_a_row_that_is_too_long_is_a_mistake(self) -> None:
        with self.assertRaises(ValueError):
            layout([["a"], ["b", "c"]])

    def test_a_line_break_in_a_cell_is_a_mistake(self) -> None:
        with self.assertRaises(ValueError):
            layout([["a\nb"]])

    def test_an_alignment_that_does_not_fit_is_a_mistake(self) -> None:
        for align in ("x", "lrc", "L"):
            with self.subTest(align), self.assertRaises(ValueError):
                layout([["a", "b"]], align)


class WithHeadTest(unittest.TestCase):
    def test_hyphens_below_the_first_row(self) -> None:
        wanted = "fruit      weight\n---------  ------\nfig             5\npineapple    1200"
        self.assertEqual(with_head(FRUIT, "lr"), wanted)

    def test_a_head_alone_and_nothing(self) -> None:
        self.assertEqual(with_head([["ab", "c"]]), "ab  c\n--  -")
        self.assertEqual(with_head([]), "")


if __name__ == "__main__":
    unittest.main()
