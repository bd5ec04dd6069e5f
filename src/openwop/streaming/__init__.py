"""Event streams of runs, over server-sent events or over long polls."""

from openwop.streaming.link import StreamSettings
from openwop.streaming.source import EventSource, StreamAnswer
from openwop.streaming.stream import AsyncEventStream

__all__ = ["AsyncEventStream", "EventSource", "StreamAnswer", "StreamSettings"]
