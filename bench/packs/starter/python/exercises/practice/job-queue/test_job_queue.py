import unittest

from job_queue import JobQueue


def queue(*jobs: tuple[str, int]) -> JobQueue:
    made = JobQueue()
    for job, urgency in jobs:
        made.add(job, urgency)
    return made


def taken(jobs: JobQueue) -> list[str]:
    return [jobs.take() for _ in range(len(jobs))]


class JobQueueTest(unittest.TestCase):
    def test_the_most_urgent_first(self) -> None:
        self.assertEqual(taken(queue(("sweep", 1), ("fire", 9), ("rest", -3))), ["fire", "sweep", "rest"])

    def test_of_equals_who_waited_longest(self) -> None:
        self.assertEqual(taken(queue(("b", 0), ("a", 0), ("c", 0))), ["b", "a", "c"])

    def test_urgency_is_zero_where_none_is_given(self) -> None:
        jobs = queue(("early", 0), ("low", -1))
        jobs.add("late")
        self.assertEqual(taken(jobs), ["early", "late", "low"])

    def test_peek_takes_nothing(self) -> None:
        jobs = queue(("a", 0), ("b", 5))
        self.assertEqual([jobs.peek(), jobs.peek(), str(len(jobs))], ["b", "b", "2"])

    def test_a_changed_job_goes_behind_those_that_wait_there(self) -> None:
        jobs = queue(("a", 1), ("b", 5), ("c", 5))
        jobs.change("a", 5)
        self.assertEqual(taken(jobs), ["b", "c", "a"])

    def test_a_change_downwards_and_back(self) -> None:
        jobs = queue(("a", 5), ("b", 5))
        jobs.change("a", 0)
        self.assertEqual(jobs.peek(), "b")
        jobs.change("a", 5)
        self.assertEqual(taken(jobs), ["b", "a"])

    def test_the_same_urgency_again_keeps_the_place(self) -> None:
        jobs = queue(("a", 5), ("b", 5))
        jobs.change("a", 5)
        self.assertEqual(taken(jobs), ["a", "b"])

    def test_a_dropped_job_is_gone_and_may_come_again(self) -> None:
        jobs = queue(("a", 5), ("b", 1))
        jobs.drop("a")
        self.assertEqual((jobs.peek(), len(jobs)), ("b", 1))
        jobs.add("a", 0)
        self.assertEqual(taken(jobs), ["b", "a"])

    def test_iterating_shows_the_order_and_takes_nothing(self) -> None:
        jobs = queue(("a", 1), ("b", 3), ("c", 3), ("d", 2))
        jobs.change("d", 3)
        self.assertEqual(list(jobs), ["b", "c", "d", "a"])
        self.assertEqual(len(jobs), 4)

    def test_mistakes(self) -> None:
        jobs = queue(("a", 1))
        with self.assertRaises(ValueError):
            jobs.add("a", 2)
        for wrong in (lambda: jobs.change("x", 1), lambda: jobs.drop("x")):
            with self.assertRaises(LookupError):
                wrong()
        self.assertEqual(taken(jobs), ["a"])
        for empty in (jobs.take, jobs.peek):
            with self.assertRaises(LookupError):
                empty()

    def test_many_jobs(self) -> None:
        jobs = JobQueue()
        for number in range(20_000):
            jobs.add(f"job {number}", number % 7)
        for number in range(0, 20_000, 2):
            jobs.change(f"job {number}", 10)
        self.assertEqual([jobs.take() for _ in range(3)], ["job 0", "job 2", "job 4"])
        self.assertEqual(len(taken(jobs)), 19_997)


if __name__ == "__main__":
    unittest.main()
