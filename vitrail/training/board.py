"""The journal's numbers as TensorBoard reads them. They are written with the journal's rows, without the thread of
TensorBoard's own writer: on a full disk that ends in a traceback of its own."""

from __future__ import annotations

import io
import time
from typing import Any

VERSION = "brain.Event:2"


def opening(resumed_after: int | None) -> bytes:
    """How a file of events begins. What other files say of samples after `resumed_after` no longer counts."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    events = [Event(wall_time=time.time(), file_version=VERSION)]
    if resumed_after is not None:
        events.append(Event(wall_time=time.time(), step=resumed_after + 1,
                            session_log=SessionLog(status=SessionLog.START)))
    return records(events)


def scalars(row: dict[str, Any]) -> bytes:
    """The numbers of a row of the journal, such as train/loss, over the samples seen."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()
              if isinstance(value, int | float) and "/" in tag]
    return records([Event(wall_time=time.time(), step=row["samples"], summary=Summary(value=values))] if values else [])


def image(tag: str, png: bytes, samples: int) -> bytes:
    """A picture at the samples seen."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width = (int.from_bytes(png[at : at + 4], "big") for at in (20, 16))
    value = Summary.Value(tag=tag, image=Summary.Image(height=height, width=width, colorspace=3,
                                                       encoded_image_string=png))
    return records([Event(wall_time=time.time(), step=samples, summary=Summary(value=[value]))])


def records(events: list[Any]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    encoded = io.BytesIO()
    for event in events:
        RecordWriter(encoded).write(event.SerializeToString())
    return encoded.getvalue()
