"""One module a way to reach a team; this registry names them all."""

from collections.abc import Callable, Mapping

from alerts.channels.console import ConsoleSender
from alerts.channels.contract import Answer, Sender
from alerts.channels.webhook import WebhookSender
from alerts.teams import Channel, ChannelType

SENDERS: dict[ChannelType, Callable[[Channel], Sender]] = {
    ChannelType.WEBHOOK: WebhookSender,
    ChannelType.CONSOLE: ConsoleSender,
}


def open_senders(channels: Mapping[str, Channel]) -> dict[str, Sender]:
    """A sender for every channel of teams.yaml, by the channel's name."""
    return {name: SENDERS[channel.type](channel) for name, channel in channels.items()}


__all__ = ["SENDERS", "Answer", "Sender", "open_senders"]
