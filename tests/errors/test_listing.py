import pytest

from planet.errors.listing import listed, short


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", 2, "c"], "a, 2, c"),
        (map(str, range(100_003)), "0, 1, 2 and 100,000 more"),
        (["a\nb", "\udcff", "\x1b[31m"], "a\\nb, \\udcff, \\x1b[31m"),
        (["x" * 200], "x" * 77 + "..."),
        ([10**5000], "an int of thousands of digits"),
    ],
)
def test_lists_of_any_length_are_one_short_line(items: list[object], expected: str) -> None:
    assert listed(items) == expected


def test_length_of_an_item_can_be_given() -> None:
    assert short("x" * 200, 200) == "x" * 200
