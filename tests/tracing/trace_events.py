"""What a viewer asks of events in the Trace Event Format."""

_NUMBER = (int, float)
_ARGUMENT = {"process_name": "name", "thread_name": "name", "process_sort_index": "sort_index"}


def check_events(events):
    """Keys and types of each event; a thread's spans are sorted by start and lie inside one another."""
    spans = {}
    for event in events:
        keys = {"name": str, "ph": str, "pid": int, "tid": int, "ts": _NUMBER}
        assert all(isinstance(event[key], kind) for key, kind in keys.items()), event
        if event["ph"] == "X":
            assert isinstance(event["dur"], _NUMBER) and event["dur"] >= 0 and isinstance(event["cat"], str), event
            spans.setdefault((event["pid"], event["tid"]), []).append(event)
        elif event["ph"] == "C":
            assert event["args"] and all(isinstance(value, _NUMBER) for value in event["args"].values()), event
        else:
            assert event["ph"] == "M" and _ARGUMENT[event["name"]] in event["args"], event
    for of_thread in spans.values():
        open_ends, last_start = [], float("-inf")
        for event in of_thread:
            start, end = event["ts"], round(event["ts"] + event["dur"], 3)
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            assert start >= last_start and (not open_ends or end <= open_ends[-1]), event
            open_ends.append(end)
            last_start = start
