import pytest

from router.routes import Route, choose, combined, told

BRIDGE = Route(address="169.254.1.2:7432", medium="thunderbolt", rtt_s=0.0006, bytes_s=600e6)
CABLE = Route(address="10.0.0.2:7432", medium="ethernet", rtt_s=0.0007, bytes_s=117e6)
AIR = Route(address="192.168.1.2:7432", medium="wifi", rtt_s=0.004, bytes_s=35e6)


def without(route: Route, trouble: str = "it does not answer") -> Route:
    return Route(address=route.address, medium=route.medium, trouble=trouble)


@pytest.mark.parametrize("used", [BRIDGE, CABLE, AIR])
def test_the_quickest_by_measurement_is_used_whichever_was_before(used: Route) -> None:
    for order in ([BRIDGE, CABLE, AIR], [AIR, CABLE, BRIDGE]):
        assert choose(order, used.address, wifi=True).address == BRIDGE.address
        assert choose([one for one in order if one is not BRIDGE], used.address, wifi=True).address == CABLE.address


def test_it_is_the_measurement_that_decides_and_not_the_name() -> None:
    slow = Route(address=BRIDGE.address, medium="thunderbolt", rtt_s=0.02, bytes_s=2e6)  # a bad cable
    assert choose([slow, CABLE], slow.address, wifi=False).address == CABLE.address


def test_a_little_better_is_not_worth_a_change() -> None:
    alike = Route(address="10.0.0.3:7432", medium="ethernet", rtt_s=0.0007, bytes_s=130e6)
    found = choose([CABLE, alike], CABLE.address, wifi=False)
    assert (found.address, found.why[:5]) == (CABLE.address, "kept:")
    assert choose([CABLE, alike], alike.address, wifi=False).address == alike.address


def test_wifi_is_used_only_where_it_is_allowed() -> None:
    found = choose([without(BRIDGE), AIR], BRIDGE.address, wifi=False)
    assert found.address == ""
    assert "192.168.1.2:7432" in found.why
    assert "link.wifi" in found.why
    assert choose([without(BRIDGE), AIR], BRIDGE.address, wifi=True).address == AIR.address
    assert choose([CABLE, AIR], AIR.address, wifi=False).address == CABLE.address  # and left where it is not any more


def test_wifi_at_the_other_end_is_wifi() -> None:
    assert (combined("ethernet", "wifi"), combined("wifi", "ethernet"), combined("wifi", None)) == ("wifi",) * 3
    assert (combined("ethernet", None), combined("thunderbolt", "thunderbolt")) == ("ethernet", "thunderbolt")


def test_nothing_that_works_is_left_for_what_was_not_measured() -> None:
    fresh = Route(address=BRIDGE.address, medium="thunderbolt", rtt_s=0.0001)
    assert choose([CABLE, fresh], CABLE.address, wifi=False).address == CABLE.address
    assert choose([without(CABLE), fresh], CABLE.address, wifi=False).address == fresh.address
    assert choose([], "", wifi=True).address == choose([without(CABLE)], CABLE.address, wifi=True).address == ""


def test_why_is_told_in_figures() -> None:
    assert choose([BRIDGE, CABLE], BRIDGE.address, wifi=False).why == "the next best would take 4.1 times as long"
    assert choose([BRIDGE, without(CABLE)], "", wifi=False).why == "the only address that can be used"
    shown = told(AIR, used=False, wifi=False, now_s=3.0)
    assert (shown["network"], shown["allowed"], shown["used"], shown["seen_ago_s"]) == ("Wi-Fi", False, False, 3.0)
