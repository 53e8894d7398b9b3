"""The cache for answers that took long."""

from afterword.dashboard.recent import LONG, TIMES, Recent


class Questions:
    """A query that takes some seconds, by its own clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 100.0
        self.asked = 0

    def monotonic(self) -> float:
        return self.now

    def ask(self) -> int:
        self.now += self.seconds
        self.asked += 1
        return self.asked


def test_a_long_answer_is_given_again_for_a_while() -> None:
    questions = Questions(seconds=1.0)
    recent = Recent(questions.monotonic)
    first = [recent.get("a", questions.ask) for _ in range(3)]
    questions.now += TIMES

    assert [1, 1, 1] == first
    assert 2 == recent.get("a", questions.ask)


def test_a_quick_answer_is_not_kept() -> None:
    questions = Questions(seconds=LONG / 2)
    recent = Recent(questions.monotonic)

    assert [1, 2] == [recent.get("a", questions.ask) for _ in range(2)]


def test_an_error_is_not_kept() -> None:
    questions = Questions(seconds=1.0)
    recent = Recent(questions.monotonic)

    def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        try:
            recent.get("a", fail)
        except ValueError:
            continue
    assert 1 == recent.get("a", questions.ask)
