import unittest

from intervals import busiest, gaps, merge


class MergeTest(unittest.TestCase):
    def test_nothing(self) -> None:
        self.assertEqual(merge([]), [])

    def test_apart_they_stay_and_are_put_in_order(self) -> None:
        self.assertEqual(merge([(50, 60), (10, 20), (30, 40)]), [(10, 20), (30, 40), (50, 60)])

    def test_overlapping_touching_and_enclosed_ones_become_one(self) -> None:
        self.assertEqual(merge([(10, 30), (20, 40)]), [(10, 40)])
        self.assertEqual(merge([(10, 20), (20, 25)]), [(10, 25)])
        self.assertEqual(merge([(0, 100), (10, 20), (90, 95)]), [(0, 100)])

    def test_empty_bookings_do_not_appear_and_join_nothing(self) -> None:
        self.assertEqual(merge([(5, 5)]), [])
        self.assertEqual(merge([(1, 3), (4, 4), (5, 6)]), [(1, 3), (5, 6)])

    def test_the_list_is_left_as_it_was(self) -> None:
        bookings = [(20, 30), (10, 25)]
        merge(bookings)
        self.assertEqual(bookings, [(20, 30), (10, 25)])


class GapsTest(unittest.TestCase):
    def test_before_between_and_behind(self) -> None:
        self.assertEqual(gaps([(10, 20), (30, 40)], 0, 50), [(0, 10), (20, 30), (40, 50)])

    def test_bookings_that_reach_out(self) -> None:
        self.assertEqual(gaps([(0, 15), (35, 60)], 10, 50), [(15, 35)])
        self.assertEqual(gaps([(0, 5), (70, 80)], 10, 50), [(10, 50)])
        self.assertEqual(gaps([(0, 100)], 10, 50), [])

    def test_an_empty_span_has_no_gap(self) -> None:
        self.assertEqual(gaps([], 7, 7), [])
        self.assertEqual(gaps([], 7, 9), [(7, 9)])


class BusiestTest(unittest.TestCase):
    def test_counts_what_holds_the_room_at_once(self) -> None:
        self.assertEqual(busiest([(10, 30), (20, 40), (25, 26), (50, 60)]), 3)
        self.assertEqual(busiest([]), 0)

    def test_touching_or_empty_ones_do_not_count_together(self) -> None:
        self.assertEqual(busiest([(10, 20), (20, 30)]), 1)
        self.assertEqual(busiest([(10, 20), (15, 15)]), 1)


class MistakesTest(unittest.TestCase):
    def test_an_end_before_its_start(self) -> None:
        for call in (lambda: merge([(1, 2), (9, 3)]), lambda: gaps([(9, 3)], 0, 9), lambda: busiest([(9, 3)])):
            with self.assertRaises(ValueError):
                call()
        with self.assertRaises(ValueError):
            gaps([], 9, 3)


if __name__ == "__main__":
    unittest.main()
