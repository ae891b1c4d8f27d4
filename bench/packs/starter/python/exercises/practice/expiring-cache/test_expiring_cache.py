import unittest

from expiring_cache import ExpiringCache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class ExpiringCacheTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = ExpiringCache(2, 10, self.clock)

    def test_keeps_and_replaces(self) -> None:
        self.cache.put("a", 1)
        self.cache.put("a", 2)
        self.assertEqual(self.cache.get("a"), 2)
        self.assertEqual(len(self.cache), 1)

    def test_what_is_not_there_is_the_default(self) -> None:
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(self.cache.get("a", "none"), "none")

    def test_none_is_a_value(self) -> None:
        self.cache.put("a", None)
        self.assertIsNone(self.cache.get("a", "none"))
        self.assertIn("a", self.cache)

    def test_a_value_is_gone_exactly_when_its_time_is_up(self) -> None:
        self.cache.put("a", 1)
        self.clock.now += 9.9
        self.assertEqual(self.cache.get("a"), 1)
        self.clock.now = 110.0
        self.assertNotIn("a", self.cache)
        self.assertEqual(len(self.cache), 0)

    def test_only_putting_makes_it_live_longer(self) -> None:
        self.cache.put("got", 1)
        self.cache.put("again", 1)
        self.clock.now += 8
        self.cache.get("got")
        self.cache.put("again", 2)
        self.clock.now += 8
        self.assertNotIn("got", self.cache)
        self.assertEqual(self.cache.get("again"), 2)

    def test_what_was_used_longest_ago_goes_first(self) -> None:
        self.cache.put("a", 1)
        self.cache.put("b", 2)
        self.cache.get("a")
        self.cache.put("c", 3)
        self.assertEqual([key in self.cache for key in "abc"], [True, False, True])

    def test_asking_whether_it_is_there_uses_nothing(self) -> None:
        self.cache.put("a", 1)
        self.cache.put("b", 2)
        self.assertIn("a", self.cache)
        self.cache.put("c", 3)
        self.assertEqual([key in self.cache for key in "abc"], [False, True, True])

    def test_putting_again_is_a_use_and_pushes_nobody_out(self) -> None:
        self.cache.put("a", 1)
        self.cache.put("b", 2)
        self.cache.put("a", 3)
        self.assertEqual(len(self.cache), 2)
        self.cache.put("c", 4)
        self.assertEqual([key in self.cache for key in "abc"], [True, False, True])

    def test_expired_values_go_before_living_ones(self) -> None:
        self.cache.put("old", 1)
        self.clock.now += 5
        self.cache.put("young", 2)
        self.clock.now += 4
        self.cache.get("old")  # used later than the young one
        self.clock.now += 1
        self.cache.put("new", 3)
        self.assertEqual([key in self.cache for key in ("old", "young", "new")], [False, True, True])

    def test_a_cache_that_keeps_nothing_is_a_mistake(self) -> None:
        for capacity, lifetime_s in ((0, 10), (-1, 10), (2, 0), (2, -1.5)):
            with self.subTest(capacity=capacity, lifetime_s=lifetime_s), self.assertRaises(ValueError):
                ExpiringCache(capacity, lifetime_s, self.clock)


if __name__ == "__main__":
    unittest.main()
