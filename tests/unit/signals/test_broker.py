"""Brokers and topics as a person names them."""

import pytest

from go_cache_safeguard.signals.broker import Broker, BrokerUnclear, parse_broker, parse_topics


def test_a_broker_is_a_url_with_a_port_of_its_own_for_tls() -> None:
    assert parse_broker("mqtt://broker") == Broker("broker", 1883, "", secure=False)
    assert parse_broker("mqtts://me%40home@[::1]:9/") == Broker("::1", 9, "me@home", secure=True)
    assert parse_broker("mqtts://broker").port == 8883


@pytest.mark.parametrize(
    "url", ["", "broker:1883", "http://broker", "mqtt://", "mqtt://h:x", "mqtt://u:secret@h", "mqtt://h/x"]
)
def test_what_is_no_broker_is_refused_and_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(BrokerUnclear) as refused:
        parse_broker(url)
    assert "secret" not in str(refused.value)


def test_a_level_of_the_topic_names_the_tenant() -> None:
    topics = parse_topics("traces/{tenant}/+")
    assert topics.filter == "traces/+/+"
    assert topics.tenant("traces/blue/gateway-7") == "blue"
    assert topics.tenant("traces//gateway-7") is None
    assert topics.tenant("traces") is None
    assert topics.tenant("traces/bl\u00fce/x") is None
    assert topics.tenant(f"traces/{'x' * 200}/x") is None
    assert parse_topics("traces/#").tenant("traces/blue/x") == ""


@pytest.mark.parametrize("text", ["", "a/#/b", "a+/b", "{tenant}/{tenant}", "{other}/a", "a\0b", "x" * 2000])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(BrokerUnclear):
        parse_topics(text)
