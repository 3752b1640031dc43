#!/usr/bin/env python3
"""Tells file-recycler that a record was deleted, with the files that went with it. Standard library only.

    FILE_RECYCLER_URL=http://127.0.0.1:8077 FILE_RECYCLER_TOKEN_FILE=/run/secrets/token \
        post_event.py Contact RECORD_ID [FILE_ID ...]

Call `post_event` after the deletion was committed, and keep what was deleted until it returns: then the broker has
the event, durably. Posting the same event again does no harm.
"""

import datetime
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

MAX_FILES = 1000


def record_deleted(schema, record_id, file_ids=(), event_id=None):
    """The event. A record with more than 1,000 files is several events."""
    if len(file_ids) > MAX_FILES:
        raise ValueError(f"an event names at most {MAX_FILES} files")
    return {
        "specversion": "1.0",
        "id": event_id or str(uuid.uuid4()),
        "source": "/examples/python",
        "type": "crm.record.deleted.v1",
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "data": {
            "schema": schema,
            "record_id": str(record_id),
            "files": [{"file_id": str(file_id)} for file_id in file_ids],
        },
    }


def post_event(url, token, event, give_up_after=300.0):
    """Posts the event until it is accepted. Returns its id; raises where trying again is of no use, or is over."""
    deadline = time.monotonic() + give_up_after
    request = urllib.request.Request(
        url.rstrip("/") + "/v1/events",
        data=json.dumps(event).encode(),
        headers={"Authorization": "Bearer " + token, "Content-Type": "application/cloudevents+json"},
        method="POST",
    )
    while True:
        pause = 5.0
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return json.load(answer)["id"]
        except urllib.error.HTTPError as error:
            told = what_it_says(error)
            # 503: not now. 408: the body was too slow. Everything else stays wrong.
            if error.code not in (408, 503):
                raise RuntimeError(f"refused with {error.code}: {told}") from None
            problem = f"{error.code}: {told}"
            pause = float(error.headers.get("Retry-After", pause))
        except (OSError, http.client.HTTPException) as error:
            # Nobody listens, or the answer was lost or cut. The event may have arrived; again is safe.
            problem = str(error) or type(error).__name__
        if time.monotonic() + pause > deadline:
            raise TimeoutError(f"not accepted within {give_up_after:.0f} s: {problem}")
        time.sleep(pause)


def what_it_says(refusal):
    """The body of an answer, where all of it came."""
    try:
        return refusal.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"(the answer was cut: {error})"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    url = os.environ.get("FILE_RECYCLER_URL", "http://127.0.0.1:8077")
    with open(os.environ["FILE_RECYCLER_TOKEN_FILE"], encoding="ascii") as file:
        token = file.read().strip()
    print(post_event(url, token, record_deleted(sys.argv[1], sys.argv[2], sys.argv[3:])))


if __name__ == "__main__":
    main()
