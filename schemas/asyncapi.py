"""The AsyncAPI 3.0 document: every topic as a channel, every message with its headers, every service's operations.

Payloads are references to the JSON Schema files. What pydantic-asyncapi can't say (the Kafka key of a message, a topic's
configuration) is added to its dump as plain data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic_asyncapi.base import Reference as Ref
from pydantic_asyncapi.base import Schema as Header
from pydantic_asyncapi.v3 import AsyncAPI, Channel, Components, Info, Message, Operation

from schemas import topics
from schemas.topics import Body, Topic, messages

FILE = Path(__file__).parent / "asyncapi.yaml"
BINDING = "0.5.0"
"""Version of AsyncAPI's Kafka bindings."""

READERS: dict[str, tuple[Topic, ...]] = {
    "order_capture": (
        topics.CHANNEL_ORDERS,
        topics.PAYMENT_REPORTS,
        topics.SOURCING_DECISIONS,
        topics.FULFILMENT_EVENTS,
        topics.RETURN_EVENTS,
        topics.ITEMS,
        topics.LOCATIONS,
        topics.POLICIES,
        topics.CHANNELS,
    ),
    "inventory": (
        topics.STOCK_REPORTS,
        topics.INVENTORY_COMMANDS,
        topics.FULFILMENT_STOCK,
        topics.RETURN_STOCK,
        topics.ITEMS,
        topics.LOCATIONS,
        topics.POLICIES,
    ),
    "sourcing": (
        topics.ORDER_EVENTS,
        topics.RESERVATIONS,
        topics.INVENTORY_EVENTS,
        topics.FULFILMENT_EVENTS,
        topics.AVAILABILITY,
        topics.LOCATIONS,
        topics.POLICIES,
        topics.CARRIERS,
    ),
    "fulfilment_tracking": (
        topics.ORDER_EVENTS,
        topics.SOURCING_DECISIONS,
        topics.FULFILMENT_REPORTS,
        topics.CARRIER_REPORTS,
        topics.RETURN_EVENTS,
        topics.POLICIES,
    ),
    "returns": (
        topics.RETURN_REQUESTS,
        topics.RETURN_RECEIPTS,
        topics.ORDER_EVENTS,
        topics.FULFILMENT_EVENTS,
        topics.LOCATIONS,
        topics.POLICIES,
    ),
}
"""Which service reads which topics, as input or as view; a test compares it with the services' own wiring."""

KEYS = {
    "order_id": "The order: `<channel>:<channel's own reference>`, as in `web-fr:100234`.",
    "location": "The location's id.",
    "carrier_tracking": "Carrier and tracking number: `<carrier>:<tracking number>`.",
    "level_id": "The inventory level: `<sku>:<location>`.",
    "sku": "The item's sku.",
    "policy": "The policy's id.",
    "channel": "The channel's id.",
    "carrier": "The carrier's id.",
    "drift_id": "What is wrong: the same for the same check, service and subject.",
}

ALWAYS = {
    "ce_specversion": "CloudEvents version: 1.0.",
    "ce_type": "`nervure.` and the message type, as in `nervure.PlaceOrder`.",
    "ce_source": "Who wrote it, as in `/shops/web-fr`. (ce_source, ce_id) is sent once.",
    "ce_id": "Unique for its source; the same on every repetition of the same message.",
}
USUAL = {
    "ce_time": "When it was written, RFC 3339.",
    "ce_partitionkey": "The Kafka key again.",
    "ce_correlationid": "Shared by all messages of one business case; kept on everything that follows.",
    "ce_causationid": "Identity of the message that caused this one.",
    "ce_traceparent": "W3C trace context.",
    "content-type": "application/json",
}
LANE = {
    "ce_lane": "`<service>/<incarnation>`: with the partition, the sequence this message is in.",
    "ce_seq": "Position in the lane, without gaps: a repeat is not higher, a gap is a loss.",
}
STATE = {
    "ce_lane": "`<service>/<incarnation>` of the writer.",
    "ce_seq": "The document's version: the highest (incarnation, version) of a key is valid.",
}
SUBJECT = {
    "ce_subject": "The aggregate that changed.",
    "ce_subjectversion": "Its version after the change.",
}
HEADERS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "ExternalHeaders": (ALWAYS, USUAL),
    "EventHeaders": (ALWAYS | LANE, USUAL | SUBJECT),
    "StateHeaders": (ALWAYS | STATE, USUAL),
}
"""Required and further headers, by the side that writes."""


def files() -> dict[Path, str]:
    return {FILE: yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120)}


def document() -> dict[str, Any]:
    found = AsyncAPI(
        asyncapi="3.0.0",
        id="urn:nervure",
        info=_info(),
        defaultContentType="application/json",
        channels={channel_id(topic): _channel(topic) for topic in topics.TOPICS},
        operations=_operations(),
        components=Components(
            schemas={name: _headers(*groups) for name, groups in HEADERS.items()},
            messages={kind.__name__: _message(topic, kind) for topic, kind in messages()},
        ),
    ).model_dump(mode="json", by_alias=True, exclude_unset=True)
    for topic, kind in messages():
        found["components"]["messages"][kind.__name__]["bindings"] = _message_binding(topic)
    for topic in topics.TOPICS:
        found["channels"][channel_id(topic)]["bindings"] = _channel_binding(topic)
    return found


def channel_id(topic: Topic) -> str:
    """`oms.channel.orders.v1` is channelOrders."""
    _, domain, entity, _ = topic.name.split(".")
    return f"{domain}{entity.capitalize()}"


def _info() -> Info:
    return Info(
        title="Nervure",
        version="1.0.0",
        description="Topics of the order management system Nervure. Readers ignore fields they don't know.",
    )


def _channel(topic: Topic) -> Channel:
    return Channel(
        address=topic.name,
        title=topic.doc,
        description=f"{KIND[topic.kind]} Written by {_writer(topic)}. Key: {KEYS[topic.key]}",
        messages={kind.__name__: Ref(ref=f"#/components/messages/{kind.__name__}") for kind in topic.types},
    )


KIND = {
    "request": "Requests: deduplicated by their request id, each answered exactly once.",
    "fact": "Facts: deduplicated by (ce_source, ce_id), never declined.",
    "reference": "Reference data: compacted, the newest record of a key is valid.",
    "events": "Events: every change, once, in order within a partition.",
    "state": "State: compacted, the highest version of a key is valid.",
}


def _writer(topic: Topic) -> str:
    return {"external": "the outside", "audit": "the audit"}.get(topic.owner, topic.owner)


def _message(topic: Topic, kind: type[Body]) -> Message:
    return Message(
        name=f"nervure.{kind.__name__}",
        title=kind.__name__,
        summary=_summary(kind),
        contentType="application/json",
        headers=Ref(ref=f"#/components/schemas/{_headers_of(topic)}"),
        payload=Ref(ref=f"./json/{kind.__name__}.json"),
    )


def _summary(kind: type[Body]) -> str:
    """The first paragraph of the model's docstring; its base's where it has none."""
    text = kind.__doc__ or next((base.__doc__ for base in kind.__mro__[1:] if base.__doc__), "") or ""
    return " ".join(text.split("\n\n")[0].split())


def _headers_of(topic: Topic) -> str:
    if topic.external or topic.kind == "fact":
        return "ExternalHeaders"
    return "StateHeaders" if topic.kind == "state" else "EventHeaders"


def _headers(required: dict[str, str], further: dict[str, str]) -> Header:
    properties = {name: Header(type="string", description=text) for name, text in (required | further).items()}
    return Header(type="object", required=list(required), properties=properties)


def _operations() -> dict[str, Operation | Ref]:
    """What each service sends, and what it receives."""
    found: dict[str, Operation | Ref] = {}
    for service, read in READERS.items():
        for topic in topics.TOPICS:
            if topic.owner == service:
                found[f"{service}.send.{channel_id(topic)}"] = _operation("send", service, topic)
        for topic in read:
            found[f"{service}.receive.{channel_id(topic)}"] = _operation("receive", service, topic)
    return found


def _operation(action: Literal["send", "receive"], service: str, topic: Topic) -> Operation:
    verb = "writes" if action == "send" else "reads"
    return Operation(action=action, summary=f"{service} {verb} {topic.name}", channel=Ref(ref=f"#/channels/{channel_id(topic)}"))


def _message_binding(topic: Topic) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": KEYS[topic.key]}, "bindingVersion": BINDING}}


def _channel_binding(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {"cleanup.policy": ["compact" if topic.compacted else "delete"]}
    if not topic.compacted:
        configuration["retention.ms"] = topic.retention_ms
    partitions = {"partitions": 1} if topic.one_partition else {}
    return {"kafka": {"topic": topic.name, **partitions, "topicConfiguration": configuration, "bindingVersion": BINDING}}
