"""What an announcement is worth beside others, and beside many that lie."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tandem.claims import ADDRESS_MAX, CLAIMS_MAX, NAME_MAX, STAYS_S, Claims, Seen, label_of
from tandem.endpoints import Endpoint
from tandem.identity import NodeId

MINI = NodeId("MINI" * 13)
RIGHT = Endpoint("10.0.0.2", 7432)


def said(node: NodeId, *places: Endpoint, name: str = "mini") -> Seen:
    return Seen(node=node, name=name, at=places)


def of(claims: Claims, node: NodeId = MINI, now_s: float = 0.0) -> set[Endpoint]:
    return {at for seen in claims.seen(now_s) if seen.node == node for at in seen.at}


def test_a_goodbye_takes_away_only_what_was_not_heard_lately() -> None:
    claims = Claims()
    claims.hear(label_of(MINI), said(MINI, RIGHT), 0.0)
    claims.goodbye(label_of(MINI))
    assert of(claims, now_s=STAYS_S - 1) == {RIGHT}
    assert of(claims, now_s=STAYS_S) == set()
    claims.hear(label_of(MINI), said(MINI, RIGHT), STAYS_S + 1)
    assert of(claims, now_s=10 * STAYS_S) == {RIGHT}, "nobody said goodbye since"


def test_all_that_one_name_says_is_one_machine() -> None:
    claims, cable = Claims(), Endpoint("169.254.1.1", 7432)
    claims.hear(label_of(MINI), said(MINI, RIGHT), 0.0)
    claims.hear(label_of(MINI), said(MINI, RIGHT, cable), 1.0)
    (seen,) = claims.seen(1.0)
    assert set(seen.at) == {RIGHT, cable}


def test_a_crowd_of_lies_about_a_machine_does_not_drive_out_what_bears_its_name() -> None:
    claims = Claims()
    claims.hear(label_of(MINI), said(MINI, RIGHT), 0.0)
    for number in range(4 * CLAIMS_MAX):
        lie = Endpoint(f"10.1.{number // 250}.{number % 250 + 1}", 7432)
        claims.hear(f"{label_of(MINI)}-{number + 2}", said(MINI, lie), 1.0)
        claims.hear(f"{label_of(MINI)}-{number + 2}", said(MINI, Endpoint(RIGHT.host, number + 1)), 1.0)
        assert RIGHT in of(claims)


def test_one_address_claims_so_much_and_no_more() -> None:
    claims = Claims()
    claims.hear(label_of(MINI), said(MINI, RIGHT), 0.0)
    for number in range(200):
        claims.hear(f"liar-{number}", said(NodeId(f"{number:052}"), Endpoint("10.0.0.9", 7432 + number)), 1.0)
    assert len(claims.seen(1.0)) == 1 + ADDRESS_MAX


def test_late_and_under_another_name_in_a_full_table_it_still_has_its_chance() -> None:
    drawn = random.Random(7)
    came = 0
    for _ in range(200):
        claims = Claims(drawn.choice)
        for number in range(CLAIMS_MAX):
            claims.hear(f"{label_of(MINI)}-{number + 3}", said(MINI, Endpoint(f"10.1.1.{number % 250}", number)), 0.0)
        claims.hear(f"{label_of(MINI)}-2", said(MINI, RIGHT), 1.0)
        came += RIGHT in of(claims)
    assert came > 150


LABELS = st.sampled_from([label_of(MINI), f"{label_of(MINI)}-2", "other", "another"])
PLACES = st.builds(Endpoint, st.sampled_from([f"10.0.0.{n}" for n in range(6)]), st.integers(1, 20))
NODES = st.sampled_from([MINI, NodeId("OTHER" * 10), NodeId("")])


@given(st.lists(st.tuples(LABELS, NODES, st.lists(PLACES, max_size=8, unique=True), st.booleans())))
def test_whatever_is_heard_the_bounds_hold_and_what_is_told_was_heard(
    heard: list[tuple[str, NodeId, list[Endpoint], bool]],
) -> None:
    claims = Claims()
    for now, (label, node, places, bye) in enumerate(heard):
        if bye:
            claims.goodbye(label)
        else:
            claims.hear(label, said(node, *places), now)
        seen = claims.seen(now)
        everything = [at for one in seen for at in one.at]
        assert len(everything) <= CLAIMS_MAX
        assert all(sum(at.host == host for at in everything) <= ADDRESS_MAX for host, _ in everything)
        assert all(len(one.at) <= NAME_MAX for one in seen)
        assert {(one.node, at) for one in seen for at in one.at} <= {(n, at) for _, n, p, _ in heard for at in p}
